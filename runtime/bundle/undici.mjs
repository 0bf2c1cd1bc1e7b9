// What the runtime uses of undici, by its files: the package's own index also loads a cache, mocks, proxies, WebSocket and fetch.
import api from "undici/lib/api/index.js";
import errors from "undici/lib/core/errors.js";
import Agent from "undici/lib/dispatcher/agent.js";
import Client from "undici/lib/dispatcher/client.js";
import Dispatcher from "undici/lib/dispatcher/dispatcher.js";
import Pool from "undici/lib/dispatcher/pool.js";

Object.assign(Dispatcher.prototype, api);

export { Agent, Client, Dispatcher, errors, Pool };
