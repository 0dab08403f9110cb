// The comparison of the map with the reference.

import { Latest } from "./api.js";
import { byId } from "./dom.js";
import { verified } from "./words.js";

/** @param {(signal: AbortSignal) => Promise<any>} verify @param {(error: Error) => void} failed */
export function createVerifyView(verify, failed) {
  const verifying = new Latest();

  function say(text) {
    byId("verified").textContent = text;
  }

  byId("verify").onclick = () => {
    say("computing it again …");
    verifying.run(
      verify,
      ({ relevance }) => say(verified(relevance.verify)),
      (error) => {
        say("");
        failed(error);
      },
    );
  };

  return {
    clear() {
      verifying.cancel();
      say("");
    },

    /** Another map is shown. */
    reset() {
      verifying.cancel();
      say("against Zennit, the reference");
    },
  };
}
