// Starts the page: what there is, where pictures come from, and what the address says.

import { Service, ServiceError } from "./api.js";
import { byId } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { checkState, createChecks } from "./link.js";
import { Page, TABS } from "./page.js";
import { watchSources } from "./picture.js";
import { Address, Store, settable } from "./state.js";
import { askKey, showBusy, showLinkProblems, tell } from "./view-trouble.js";

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

/** Read the state from the address, and say what in it is unknown. */
function readLink(address, checks) {
  const { state, problems } = checkState(address.read(location.hash), address.defaults, checks);
  const unknown = address.unknown(location.hash).map((name) => `“${name}” in the link is unknown and ignored.`);
  showLinkProblems([...problems, ...unknown]);
  return state;
}

async function start() {
  const service = new Service(showBusy, askKey);
  watchSkipLink();
  const [rules, model, colormaps] = await Promise.all(
    ["rules", "model", "colormaps"].map((path) => service.read(path)),
  );
  const address = new Address(settable(rules));
  const checks = createChecks({ rules, model, colormaps }, TABS);
  const store = new Store(readLink(address, checks));
  watchTabs(store);
  const page = new Page(service, store, address, { rules, model, colormaps });
  watchSources(
    (files, made) => page.openAll(files, made),
    (message) => page.fail(new ServiceError(message)),
  );
  const { example } = store.state;
  page.open({ example: example ?? EXAMPLES[0] }, true);
  addEventListener("hashchange", () => {
    const state = readLink(address, checks);
    if (state.example !== null && state.example !== store.state.example)
      page.open({ example: state.example }, true);
    store.set(state);
  });
}

start().catch((error) => tell(error, () => location.reload()));
