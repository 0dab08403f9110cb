// Where the scale ends: held as it is, or at a share of the largest value, so that faint maps can be read.

import { byId } from "./dom.js";

/**
 * @param {import("./state.js").Store} store
 * @param {() => {vmax: number} | null} scale of what is on the page
 * @param {(sign: 1 | -1) => number} extreme its largest or smallest relevance
 */
export function createHoldView(store, scale, extreme) {
  byId("hold").onchange = ({ target }) => {
    store.set({ vmax: (target.checked && scale()?.vmax) || null });
  };
  byId("end").oninput = ({ target: { value } }) => {
    const end = (largest() * value) / 100;
    store.set({ vmax: value < 100 && end ? Number(end.toPrecision(3)) : null });
  };

  /** The largest value that is shown, without its sign. */
  function largest() {
    const ends = { positive: [1], negative: [-1], all: [1, -1] }[store.state.sign];
    return Math.max(0, ...ends.map((sign) => sign * extreme(sign)));
  }

  return {
    /** @param {import("./state.js").State} state */
    show({ vmax, normalize }) {
      if (vmax === undefined) return; // the model has no such scale
      byId("hold").checked = vmax !== null;
      const share = vmax === null ? 100 : Math.min(100, Math.round((100 * vmax) / (largest() || vmax)));
      byId("end").value = share;
      byId("end").setAttribute("aria-valuetext", `${share}% of the largest value`);
      for (const id of ["hold", "end"]) byId(id).disabled = normalize === "minmax";
    },
  };
}
