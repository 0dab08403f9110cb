// How much the map differs between samples of the same explanation.

import { Latest } from "./api.js";
import { byId } from "./dom.js";
import { spread } from "./words.js";

const SAMPLES = 32;
const DRAWN = { statistic: "std", sign: null, normalize: null, vmax: null, size: null };

/**
 * @param {{dropout: number[] | null}} model as of GET /model
 * @param {(more: Record<string, any>, signal: AbortSignal) => Promise<any>} explain with more parameters
 * @param {(error: Error) => void} failed
 */
export function createSamplesView({ dropout }, explain, failed) {
  const sampling = dropout?.some((rate) => rate > 0) ? "dropout" : "noise";
  const running = new Latest();

  function say(text) {
    byId("sampled").textContent = text;
  }

  /** Another map is shown. */
  function reset() {
    running.cancel();
    say(`from ${SAMPLES} samples with ${sampling === "dropout" ? "dropout" : "noise on the picture"}`);
    byId("deviation").hidden = true;
  }

  byId("sample").onclick = () => {
    say("explaining it again and again …");
    running.run(
      (signal) => explain({ ...DRAWN, samples: SAMPLES, sampling }, signal),
      (answer) => {
        say(spread(answer));
        byId("deviation-map").src = `data:image/png;base64,${answer.heatmap.data}`;
        byId("deviation").hidden = false;
      },
      (error) => {
        reset();
        failed(error);
      },
    );
  };
  reset();

  return {
    reset,

    clear: reset,
  };
}
