// Starts the page: what there is, and what the address says.

import { Latest, Service } from "./api.js";
import { byId } from "./dom.js";
import { checkState, createChecks } from "./link.js";
import { Models } from "./models.js";
import { Page, TABS } from "./page.js";
import { Address, Store } from "./state.js";
import { askKey, showBusy, showLinkProblems, tell } from "./view-trouble.js";

/** Fragments are state here, so that this link may not follow its own. */
function watchSkipLink(page) {
  byId("skip").onclick = (event) => {
    event.preventDefault();
    byId(page.main).focus();
  };
}

function watchTabs(store, page) {
  for (const button of byId("tabs").children) button.onclick = () => store.set({ tab: button.id.slice("tab-".length) });
  byId("tabs").onkeydown = ({ key }) => {
    const { tabs } = page;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(store.state.tab) + step + tabs.length) % tabs.length];
    store.set({ tab: next });
    byId(`tab-${next}`).focus();
  };
}

/**
 * Read a link: the model that it names, the state, and what in it is unknown.
 * @param {string | null} name of the model @param {(address: Address) => string} hashOf the link
 * @param {Models} models @param {any[]} colormaps
 */
async function readLink(name, hashOf, models, colormaps) {
  const about = await models.describe(name);
  const address = new Address(about);
  const hash = hashOf(address);
  const checks = createChecks({ ...about, colormaps, models: models.names }, TABS[about.model.kind], address.defaults);
  const { state, problems } = checkState(address.read(hash), address.defaults, checks);
  const unknown = address.unknown(hash).map((name) => `“${name}” in the link is unknown and ignored.`);
  return { about, address, state, problems: [...problems, ...unknown] };
}

async function start() {
  const service = new Service(showBusy, askKey);
  const [entries, colormaps] = await Promise.all(["models", "colormaps"].map((path) => service.read(path)));
  const models = new Models(service, entries.models);
  byId("reports").hidden = !entries.reports;
  const { hash } = location;
  const first = await readLink(Address.model(hash), () => hash, models, colormaps);
  const store = new Store(first.state);
  const following = new Latest();
  showLinkProblems(first.problems);

  /** Show what a link of this page says. @param {string | null} name of the model @param {(address: Address) => string} hashOf the link */
  function follow(name, hashOf) {
    following.run(
      () => readLink(name, hashOf, models, colormaps),
      ({ about, address, state, problems }) => {
        showLinkProblems(problems);
        page.use(about, address);
        page.link(state);
        store.set(state);
      },
      (error) => page.fail(error, () => follow(name, hashOf)),
    );
  }

  const page = new Page(service, store, { models: models.names, colormaps }, (name) => {
    const { defaults } = page.address;
    const tab = TABS[models.kind(name)].includes(store.state.tab) ? store.state.tab : defaults.tab;
    const state = { ...store.state, tab, model: models.inState(name) };
    follow(name, (address) => address.keep(state, defaults));
  });
  page.use(first.about, first.address);
  watchSkipLink(page);
  watchTabs(store, page);
  page.link(first.state);
  addEventListener("hashchange", () => {
    const { hash } = location;
    follow(Address.model(hash), () => hash);
  });
}

start().catch((error) => tell(error, () => location.reload()));
