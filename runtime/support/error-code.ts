/** Code of an error of Node, undici or a database, such as `ENOENT`, `UND_ERR_SOCKET` or an SQLSTATE; undefined where there is none. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
