import { runPlugin } from "../server.ts";
import { createCommandPlugin } from "./plugin.ts";

await runPlugin(createCommandPlugin());
