// Where the scale ends: held as it is, or at a share of the largest value, so that faint maps can be read.

import { byId } from "./dom.js";

/**
 * @param {import("./state.js").Store} store
 * @param {() => {answer: any, grid: import("./draw.js").Grid} | null} current the picture on the page, and its answer
 */
export function createHoldView(store, current) {
  byId("hold").onchange = ({ target }) => {
    const shown = current();
    store.set({ vmax: target.checked && shown ? shown.answer.heatmap.vmax : null });
  };
  byId("end").oninput = ({ target: { value } }) => {
    const end = (largest() * value) / 100;
    store.set({ vmax: value < 100 && end ? Number(end.toPrecision(3)) : null });
  };

  /** The largest value that the map on the page shows, without its sign. */
  function largest() {
    const shown = current();
    if (!shown) return 0;
    const ends = { positive: [1], negative: [-1], all: [1, -1] }[store.state.sign];
    return Math.max(0, ...ends.map((sign) => sign * shown.grid.extreme(sign).value));
  }

  return {
    /** @param {import("./state.js").State} state */
    show({ vmax, normalize }) {
      byId("hold").checked = vmax !== null;
      const share = vmax === null ? 100 : Math.min(100, Math.round((100 * vmax) / (largest() || vmax)));
      byId("end").value = share;
      byId("end").setAttribute("aria-valuetext", `${share}% of the largest value`);
      for (const id of ["hold", "end"]) byId(id).disabled = normalize === "minmax";
    },
  };
}
