import { endpoint } from "../http/endpoint.ts";
import { common, integer, text } from "../http/parameters.ts";
import { assertNode } from "./checks.ts";

const DEFAULT_LINES = 50;
const task = { node: common.node, upid: text() };

/** Tasks: what they are doing, what they said, how they ended. */
export const taskEndpoints = [
  endpoint("GET /nodes/{node}/tasks", {
    summary: "Tasks, newest first",
    parameters: {
      node: common.node,
      limit: integer(0).optional(),
      start: integer(0).optional(),
      vmid: common.vmId.optional(),
      typefilter: text().optional(),
      source: text().optional(),
    },
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      const start = params.start ?? 0;
      return lab.tasks
        .list()
        .filter(({ id }) => params.vmid === undefined || id === String(params.vmid))
        .filter(({ type }) => params.typefilter === undefined || type === params.typefilter)
        .slice(start, start + (params.limit ?? DEFAULT_LINES));
    },
  }),
  endpoint("GET /nodes/{node}/tasks/{upid}/status", {
    summary: "State of a task",
    parameters: task,
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      return lab.tasks.status(params.upid);
    },
  }),
  endpoint("GET /nodes/{node}/tasks/{upid}/log", {
    summary: "Lines of a task's log",
    parameters: { ...task, start: integer(0).optional(), limit: integer(0).optional() },
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      return lab.tasks.log(params.upid, params.start ?? 0, params.limit ?? DEFAULT_LINES);
    },
  }),
  endpoint("DELETE /nodes/{node}/tasks/{upid}", {
    summary: "Stop a task",
    parameters: task,
    handle: ({ lab, params }) => {
      assertNode(lab, params.node);
      lab.tasks.stop(params.upid);
    },
  }),
];
