"""What the estimate of a million explanations counts and computes."""

import torch

from benchmarks.cost import BATCH, H100, MILLION, Counted, counted, engine_per_second, table
from benchmarks.relevance import MACS_DEFAULT


def test_operations_of_layers_and_products_are_counted() -> None:
    x, w = torch.zeros(2, 3, 8, 8), torch.zeros(4, 3, 3, 3)
    with torch.inference_mode(), Counted() as found:
        torch.nn.functional.conv2d(x, w, padding=1)
    assert found.operations == 2 * (2 * 4 * 8 * 8) * (3 * 3 * 3)
    assert found.bytes == 4 * (2 * 3 * 8 * 8 + 4 * 3 * 3 * 3 + 2 * 4 * 8 * 8)
    with torch.inference_mode(), Counted() as found:
        torch.zeros(5, 7) @ torch.zeros(7, 2)
    assert found.operations == 2 * 5 * 7 * 2


def test_views_move_nothing_and_repeated_values_count_once() -> None:
    x = torch.zeros(6, 4)
    with torch.inference_mode(), Counted() as found:
        _ = x.t().expand(4, 6)
    assert (found.operations, found.bytes) == (0, 0)
    with torch.inference_mode(), Counted() as found:
        x + x[:1].expand(6, 4)
    assert found.bytes == 4 * (6 * 4 + 4 + 6 * 4)


def test_the_engine_computes_little_more_or_less_than_the_rule_needs() -> None:
    found = counted()
    assert abs(found.operations / (2 * BATCH * MACS_DEFAULT) - 1) < 0.01


def test_the_table_divides_what_there_is_by_what_is_needed() -> None:
    found = Counted()
    found.operations, found.bytes = BATCH * 10**9, BATCH * 10**6
    rows = table(found).splitlines()
    assert f"{H100.operations / 1e9:,.0f} | {MILLION / (H100.operations / 1e9):.3g} s |" in rows[-2]
    assert "| 3,350,000 | 0.299 s |" in rows[-1]
    assert f"measured by `make bench` | {engine_per_second():.0f} |" in rows[4]
