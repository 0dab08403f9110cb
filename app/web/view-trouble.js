// What may go wrong, said to people: errors, overload, a missing key.

import { ServiceError } from "./api.js";
import { byId, make } from "./dom.js";

let told = null; // the error on the page

/** Other errors are ours and go on to the console. @param {Error} error @param {() => void} again what may help */
export function tell(error, again) {
  if (!(error instanceof ServiceError)) throw error;
  byId("error-text").textContent = error.message;
  byId("error").hidden = false;
  told = error;
  byId("again").onclick = again;
}

/** Remove the message about an error that is over. @param {Error | null} error */
export function settle(error) {
  if (error !== null && error === told) byId("error").hidden = true;
}

/** Say what is wrong with the link by which the page was opened. @param {string[]} problems */
export function showLinkProblems(problems) {
  byId("link-problems").replaceChildren(...problems.map((textContent) => make("li", { textContent })));
  byId("link-notice").hidden = !problems.length;
  byId("link-close").onclick = () => (byId("link-notice").hidden = true);
}

/** @param {number | null} seconds until it is asked again; null when it is */
export function showBusy(seconds) {
  byId("status").hidden = seconds === null;
  byId("status").textContent = seconds === null ? "" : `The service is busy, retrying in ${seconds} s …`;
}

/** @returns {Promise<string>} */
export function askKey() {
  const dialog = byId("key-dialog");
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve, reject) => {
    const closed = () =>
      byId("key").value
        ? resolve(byId("key").value)
        : reject(new ServiceError("This service answers only with a key."));
    dialog.addEventListener("close", closed, { once: true });
  });
}
