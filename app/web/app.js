// Starts the page: what there is, where pictures come from, and what the address says.

import { Service, ServiceError } from "./api.js";
import { byId } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { Page, TABS } from "./page.js";
import { watchSources } from "./picture.js";
import { Store, fromHash } from "./state.js";
import { askKey, showBusy, tell } from "./view-trouble.js";

/** Fragments are state here, so that this link may not follow its own. */
function watchSkipLink() {
  byId("skip").onclick = (event) => {
    event.preventDefault();
    byId("probe").focus();
  };
}

function watchTabs(store) {
  for (const tab of TABS) byId(`tab-${tab}`).onclick = () => store.set({ tab });
  byId("tabs").onkeydown = ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = TABS[(TABS.indexOf(store.state.tab) + step + TABS.length) % TABS.length];
    store.set({ tab: next });
    byId(`tab-${next}`).focus();
  };
}

async function start() {
  const service = new Service(showBusy, askKey);
  const store = new Store(fromHash(location.hash));
  watchTabs(store);
  watchSkipLink();
  const [rules, model, colormaps] = await Promise.all(
    ["rules", "model", "colormaps"].map((path) => service.read(path)),
  );
  const page = new Page(service, store, { rules, model, colormaps });
  watchSources(
    (file) => page.open({ file }),
    (message) => page.fail(new ServiceError(message)),
  );
  const { example } = store.state;
  page.open({ example: EXAMPLES.includes(example) ? example : EXAMPLES[0] }, true);
  addEventListener("hashchange", () => {
    const state = fromHash(location.hash);
    if (EXAMPLES.includes(state.example) && state.example !== store.state.example)
      page.open({ example: state.example }, true);
    store.set(state);
  });
}

start().catch((error) => tell(error, () => location.reload()));
