// Loaded before Portkey's gateway. As npm installs 1.15.2 it answers every streamed request with 500 ("immutable"): it adds headers to what it
// got from fetch, through a Response of @hono/node-server that keeps fetch's own, which may not be changed. A stream is given headers that may.
const { fetch, Response } = globalThis;

globalThis.fetch = async (...request) => {
  const answer = await fetch(...request);
  if (!answer.headers.get("content-type")?.startsWith("text/event-stream")) return answer;
  const { status, statusText, headers, body } = answer;
  return new Response(body, { status, statusText, headers: new Headers(headers) });
};
