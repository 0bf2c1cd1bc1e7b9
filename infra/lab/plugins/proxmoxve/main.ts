import { runPlugin } from "../server.ts";
import { createProxmoxvePlugin } from "./plugin.ts";

await runPlugin(createProxmoxvePlugin(process.env));
