// Downloads, and this very request as a command, a program or a link.

import { asCurl, asPython } from "./code.js";
import { byId, save } from "./dom.js";

const FORMS = {
  png: ["image/png", "png"],
  npy: ["application/x-npy", "npy"],
  json: ["application/json", "json"],
};

/**
 * @param {() => import("./code.js").Request} request for the picture as it is shown now
 * @param {(accept: string) => Promise<Blob>} fetchAs @param {(error: Error) => void} failed
 */
export function createTakeView(request, fetchAs, failed) {
  for (const [form, [accept, ending]] of Object.entries(FORMS)) {
    byId(`save-${form}`).onclick = async () => {
      try {
        save(await fetchAs(accept), request().saveAs.replace(/png$/, ending));
      } catch (error) {
        failed(error);
      }
    };
  }
  byId("copy-curl").onclick = () => copy(asCurl(request()), `Copied.${reads()}`);
  byId("copy-python").onclick = () =>
    copy(asPython(request()), `Copied.${reads()} It needs httpx.`);

  /** Which file a command reads. */
  function reads() {
    const { json, name } = request();
    return json === null ? ` It reads ${name} from the current folder.` : "";
  }

  async function copy(text, words) {
    byId("code").textContent = text;
    try {
      await navigator.clipboard.writeText(text);
      byId("taken").textContent = words;
    } catch {
      getSelection().selectAllChildren(byId("code")); // over plain http the clipboard is closed to pages
      byId("taken").textContent = "Marked; copy it with Ctrl+C.";
    }
  }

  return {
    copy,

    clear() {
      byId("code").textContent = "";
      byId("taken").textContent = "";
    },

    /**
     * @param {boolean} single one explanation, not a comparison
     * @param {import("./requests.js").Shown & {made?: boolean}} shown a picture is offered if the page made it
     */
    show(single, { body, name, made = false }) {
      byId("save-picture").hidden = !made;
      byId("save-picture").onclick = () => save(body, name);
      byId("code").textContent = asCurl(request());
      byId("taken").textContent = "";
      byId("save-npy").disabled = !single;
      byId("view").disabled = !single;
    },
  };
}
