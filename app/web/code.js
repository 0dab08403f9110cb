// A request as something to paste: a curl command, a Python program.

const LONGEST = 200; // letters of a file's name; most file systems end at 255 bytes

/** @typedef {{path: string, query: URLSearchParams, name: string, saveAs: string, withKey: boolean}} Request */

/**
 * The request for what is shown.
 * @param {import("./state.js").State} state @param {{name: string, answer: any}} shown
 * @param {URLSearchParams} query @param {boolean} withKey @returns {Request}
 */
export function requestFor({ tab, rule, view }, { name, answer }, query, withKey) {
  const comparing = tab === "compare";
  if (!comparing && view !== "heatmap") query.set("view", view);
  const { target, versus } = answer;
  const what = comparing ? ["compared"] : [target.label, ...(versus ? ["not", versus.label] : []), rule];
  const words = [name.replace(/\.\w+$/, ""), ...what];
  return {
    path: comparing ? "compare" : "explain",
    query,
    name,
    saveAs: `${words.join("-").replaceAll(/[/\\]/g, "_").slice(0, LONGEST)}.png`,
    withKey,
  };
}

/** @param {Request} request @returns {string} */
export function asCurl({ path, query, name, saveAs, withKey }) {
  const key = withKey ? [`-H "Authorization: Bearer $LRP_API_KEY"`] : [];
  const words = [
    "curl",
    `-F ${quoted(`file=@${name}`)}`,
    "-H 'Accept: image/png'",
    ...key,
    `-o ${quoted(saveAs)}`,
  ];
  return `${words.join(" ")} \\\n  ${quoted(address(path, query))}`;
}

/** @param {Request} request @returns {string} */
export function asPython({ path, query, name, withKey }) {
  const parameters = [...new Set(query.keys())].map((key) => {
    const values = query.getAll(key).map((value) => JSON.stringify(value));
    return `${JSON.stringify(key)}: ${values.length > 1 ? `[${values.join(", ")}]` : values[0]}`;
  });
  const key = withKey ? [`        headers={"Authorization": f"Bearer {os.environ['LRP_API_KEY']}"},`] : [];
  const first = path === "compare" ? 'answer["explanations"][0]' : "answer";
  return [
    ...(withKey ? ["import os", ""] : []),
    "import httpx",
    "",
    `with open(${JSON.stringify(name)}, "rb") as picture:`,
    "    response = httpx.post(",
    `        ${JSON.stringify(address(path))},`,
    `        params={${parameters.join(", ")}},`,
    '        files={"file": picture},',
    ...key,
    "    )",
    "response.raise_for_status()",
    "answer = response.json()",
    `print(${first}["target"]["label"], ${first}["relevance"]["sum"])`,
  ].join("\n");
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
