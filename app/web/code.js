// A request as something to paste: a curl command, a Python program.

const LONGEST = 200; // letters of a file's name; most file systems end at 255 bytes

/** @typedef {{path: string, query: URLSearchParams, name: string, json: string | null, saveAs: string, withKey: boolean}} Request
 *   `json`: what is sent, if it is not the file `name` */

/**
 * The request for what is shown.
 * @param {import("./state.js").State} state @param {import("./requests.js").Shown} shown
 * @param {string} suffix of the path @param {URLSearchParams} query @param {boolean} withKey @returns {Request}
 */
export function requestFor({ tab, rule, view }, { body, name, answer }, suffix, query, withKey) {
  const comparing = tab === "compare";
  const json = typeof body === "string" ? body : null;
  if (!comparing && json === null && view !== "heatmap") query.set("view", view);
  const { target, versus } = answer;
  const what = comparing ? ["compared"] : [target.label, ...(versus ? ["not", versus.label] : []), rule];
  const words = [name.replace(/\.\w+$/, ""), ...what];
  return {
    path: (comparing ? "compare" : "explain") + suffix,
    query,
    name,
    json,
    saveAs: `${words.join("-").replaceAll(/[/\\]/g, "_").slice(0, LONGEST)}.png`,
    withKey,
  };
}

/** @param {Request} request @returns {string} */
export function asCurl({ path, query, name, json, saveAs, withKey }) {
  const key = withKey ? [`-H "Authorization: Bearer $LRP_API_KEY"`] : [];
  const words = [
    "curl",
    ...(json === null ? [`-F ${quoted(`file=@${name}`)}`] : ["-H 'Content-Type: application/json'", `-d ${quoted(json)}`]),
    "-H 'Accept: image/png'",
    ...key,
    `-o ${quoted(saveAs)}`,
  ];
  return `${words.join(" ")} \\\n  ${quoted(address(path, query))}`;
}

/** @param {Request} request @returns {string} */
export function asPython({ path, query, name, json, withKey }) {
  const parameters = [...new Set(query.keys())].map((key) => {
    const values = query.getAll(key).map((value) => JSON.stringify(value));
    return `${JSON.stringify(key)}: ${values.length > 1 ? `[${values.join(", ")}]` : values[0]}`;
  });
  const key = withKey ? [`    headers={"Authorization": f"Bearer {os.environ['LRP_API_KEY']}"},`] : [];
  const post = (sent) => [
    "response = httpx.post(",
    `    ${JSON.stringify(address(path))},`,
    `    params={${parameters.join(", ")}},`,
    `    ${sent},`,
    ...key,
    ")",
  ];
  const first = path.startsWith("compare") ? 'answer["explanations"][0]' : "answer";
  return [
    ...(withKey ? ["import os", ""] : []),
    "import httpx",
    "",
    ...(json === null
      ? [`with open(${JSON.stringify(name)}, "rb") as picture:`, ...post('files={"file": picture}').map((line) => `    ${line}`)]
      : post(`json=${literal(JSON.parse(json))}`)),
    "response.raise_for_status()",
    "answer = response.json()",
    `print(${first}["target"]["label"], ${first}["relevance"]["sum"])`,
  ].join("\n");
}

/** A value of JSON as Python writes it. */
function literal(value) {
  if (value === null) return "None";
  if (typeof value !== "object") return JSON.stringify(value);
  const entries = Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${literal(one)}`);
  return `{${entries.join(", ")}}`;
}

function address(path, query) {
  const url = new URL(path, document.baseURI);
  url.hash = "";
  url.search = query ?? "";
  return url.href;
}

/** A word for a POSIX shell. */
function quoted(word) {
  return /^[\w@=.,:/-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
