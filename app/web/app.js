// Starts the page: what there is, where pictures come from, and what the address says.

import { Latest, Service, ServiceError } from "./api.js";
import { byId } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { checkState, createChecks } from "./link.js";
import { Models } from "./models.js";
import { Page, TABS } from "./page.js";
import { watchSources } from "./picture.js";
import { Address, OF_MODEL, Store, settable } from "./state.js";
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

/**
 * Read a link: the model that it names, the state, and what in it is unknown.
 * @param {string} hash @param {Models} models @param {any[]} colormaps
 */
async function readLink(hash, models, colormaps) {
  const about = await models.describe(Address.model(hash));
  const address = new Address(settable(about.rules));
  const checks = createChecks({ ...about, colormaps, models: models.names }, TABS);
  const { state, problems } = checkState(address.read(hash), address.defaults, checks);
  const unknown = address.unknown(hash).map((name) => `“${name}” in the link is unknown and ignored.`);
  return { about, address, state, problems: [...problems, ...unknown] };
}

async function start() {
  const service = new Service(showBusy, askKey);
  watchSkipLink();
  const [entries, colormaps] = await Promise.all(["models", "colormaps"].map((path) => service.read(path)));
  const models = new Models(service, entries.models);
  const first = await readLink(location.hash, models, colormaps);
  const store = new Store(first.state);
  const following = new Latest();
  watchTabs(store);
  showLinkProblems(first.problems);

  /** Show what a link of this page says. @param {string} hash */
  function follow(hash) {
    following.run(
      () => readLink(hash, models, colormaps),
      ({ about, address, state, problems }) => {
        showLinkProblems(problems);
        page.use(about, address);
        const { example } = state;
        if (example !== null && example !== store.state.example) page.open({ example }, true);
        store.set(state);
      },
      (error) => page.fail(error, () => follow(hash)),
    );
  }

  const page = new Page(service, store, { models: models.names, colormaps }, (name) =>
    follow(page.address.write({ ...store.state, ...OF_MODEL, model: models.inState(name) })),
  );
  page.use(first.about, first.address);
  watchSources(
    (files, made) => page.openAll(files, made),
    (message) => page.fail(new ServiceError(message)),
  );
  page.open({ example: store.state.example ?? EXAMPLES[0] }, true);
  addEventListener("hashchange", () => follow(location.hash));
}

start().catch((error) => tell(error, () => location.reload()));
