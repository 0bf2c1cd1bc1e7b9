// Thread of its own: PGlite's start and its statements must not hold up the answers.
import { parentPort, workerData } from "node:worker_threads";
import { PGlite } from "@electric-sql/pglite";
import { z } from "zod";
import { codeOf } from "../support/error-code.ts";

const Data = z.object({ directory: z.string() });
const Job = z.object({ id: z.int(), text: z.string(), values: z.array(z.unknown()).optional() });

const port = parentPort;
if (port === null) throw new Error("pglite-worker.ts: want to be started as a worker");
const { directory } = Data.parse(workerData);
const opened = PGlite.create(directory);
opened.then(
  () => port.postMessage({ id: 0, rows: [] }),
  (error: unknown) => port.postMessage({ id: 0, failed: failureOf(error) }),
);
port.on("message", (message: unknown) => {
  const { id, text, values } = Job.parse(message);
  // The asking side sends one at a time.
  void (async () => {
    try {
      const database = await opened;
      if (text === "close") {
        await database.close();
        port.postMessage({ id, rows: [] });
        port.close();
        return;
      }
      const rows = values === undefined ? (await database.exec(text), []) : (await database.query(text, values)).rows;
      port.postMessage({ id, rows });
    } catch (error) {
      port.postMessage({ id, failed: failureOf(error) });
    }
  })();
});

/** What crosses to the other side: a code, and words only where they are about files. */
function failureOf(error: unknown): { code: string | undefined } {
  if (error instanceof Error && error.name === "ErrnoError") return { code: "EIO" };
  return { code: codeOf(error) ?? (error instanceof Error ? error.name : undefined) };
}
