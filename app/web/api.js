// Requests to the service: keys, overload, errors as sentences, and only the newest answer.

const ATTEMPTS = 10;
const KEY = "lrpserve-key";

/** What went wrong, as a sentence for people. */
export class ServiceError extends Error {
  /** @param {string} message @param {{loc: (string | number)[], msg: string}[]} [errors] what is wrong with which input */
  constructor(message, errors = []) {
    super(message);
    this.errors = errors;
  }
}

/** The service on whose page this is. */
export class Service {
  /**
   * @param {(seconds: number | null) => void} onBusy told how long is waited; null when it goes on
   * @param {() => Promise<string>} askKey
   */
  constructor(onBusy, askKey) {
    this.onBusy = onBusy;
    this.askKey = askKey;
  }

  /** Whether a key was asked for. */
  get hasKey() {
    return sessionStorage.getItem(KEY) !== null;
  }

  /** @param {string} path @returns {Promise<any>} */
  async read(path) {
    return (await this.#send(path, {})).json();
  }

  /**
   * Send a picture, or JSON.
   * @param {string} path @param {Blob | string} body @param {string} accept @param {AbortSignal} [signal]
   * @returns {Promise<Response>}
   */
  post(path, body, accept, signal) {
    const type = typeof body === "string" ? "application/json" : "application/octet-stream";
    return this.#send(path, { method: "POST", body, headers: { Accept: accept, "Content-Type": type }, signal });
  }

  async #send(path, options) {
    for (let attempt = 1; ; attempt++) {
      const response = await this.#fetch(path, options);
      if (response.ok) return response;
      if (response.status === 401) {
        sessionStorage.setItem(KEY, await this.askKey());
      } else if (response.status === 503 && attempt < ATTEMPTS) {
        const seconds = Number(response.headers.get("Retry-After")) || 1;
        this.onBusy(seconds);
        await pause(seconds, options.signal).finally(() => this.onBusy(null));
      } else {
        throw await errorOf(response);
      }
    }
  }

  async #fetch(path, options) {
    const key = sessionStorage.getItem(KEY);
    const headers = key === null ? options.headers : { ...options.headers, Authorization: `Bearer ${key}` };
    try {
      return await fetch(path, { ...options, headers });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new ServiceError("The service does not answer. Is it running, and are you connected to it?");
    }
  }
}

/** Runs one task at a time: a newer one aborts the older, whose answer is never delivered. */
export class Latest {
  #controller = new AbortController();

  /**
   * @template T
   * @param {(signal: AbortSignal) => Promise<T>} task @param {(result: T) => void} done
   * @param {(error: Error) => void} failed
   */
  async run(task, done, failed) {
    this.cancel();
    const { signal } = (this.#controller = new AbortController());
    try {
      const result = await task(signal);
      if (!signal.aborted) done(result);
    } catch (error) {
      if (!signal.aborted) failed(error);
    }
  }

  cancel() {
    this.#controller.abort();
  }
}

/** @param {Response} response @returns {Promise<ServiceError>} what is wrong and what to do */
async function errorOf(response) {
  const problem = await response.json().catch(() => ({}));
  const detail = problem.detail ?? `The service answered ${response.status} ${response.statusText}.`;
  const traced = response.status >= 500 && problem.instance ? `${detail} (request ${problem.instance})` : detail;
  return new ServiceError(traced, problem.errors);
}

/** @param {number} seconds @param {AbortSignal} [signal] */
function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
