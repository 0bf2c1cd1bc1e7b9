import { Hono } from "hono";
import { Fault, toFault } from "../../core/fault.ts";
import { type Dialect, errorResponse } from "../../support/http.ts";
import type { Engine } from "../engine.ts";

/** Methods that any API here has. HEAD is answered where GET is. */
const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const;

/** A part of an API whose errors are in its dialect; what was not foreseen is logged. */
export function apiOf(engine: Engine, dialect: Dialect): Hono {
  const app = new Hono();
  app.onError((error, c) => {
    const fault = toFault(error);
    if (fault.code === "internal") engine.log.error({ err: fault.cause, path: c.req.path }, "request failed");
    return errorResponse(fault, dialect);
  });
  return app;
}

/** Answers what no part of an app does: 405 with `Allow` where another method would be served, else 404. */
export function refuseOthers(app: Hono, dialectOf: (path: string) => Dialect): void {
  app.notFound((c) => {
    const { method, path } = c.req;
    const allowed = METHODS.filter((one) => app.router.match(one, path)[0].length > 0);
    const dialect = dialectOf(path);
    if (allowed.length === 0) return errorResponse(new Fault("not_found", `no ${method} ${path} here`), dialect);
    const allow = allowed.join(", ");
    return errorResponse(
      new Fault("method_not_allowed", `${method} ${path}: want ${allow}`, { headers: { allow } }),
      dialect,
    );
  });
}
