import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { ArgsError, childName, later } from "../args.ts";

/** Key of the URL in the Secret that is made here. */
const URL_KEY = "url";
/** Port of Postgres where a URL names none. Source: PostgreSQL 15 manual, 20.3.1. */
const POSTGRES_PORT = 5432;

const UrlSchema = z.string().refine(
  (text) => urlOf(text) !== undefined,
  // What it got is not said: it may have a password in it.
  "want postgres://user:password@host:5432/database",
);

/** What {@link ConversationStoreArgs} accepts. */
export const ConversationStoreSchema = z
  .strictObject({
    databaseUrl: later("conversationStore.databaseUrl", UrlSchema)
      .transform((url) => pulumi.secret(url))
      .optional(),
    databaseUrlSecret: z
      .strictObject({
        name: later("conversationStore.databaseUrlSecret.name", z.string().min(1)),
        key: z.string().regex(/^[-._a-zA-Z0-9]+$/, "want a key of a Secret such as url"),
      })
      .optional(),
    port: z.int().min(1).max(65_535).default(POSTGRES_PORT),
  })
  .refine(({ databaseUrl, databaseUrlSecret }) => (databaseUrl === undefined) !== (databaseUrlSecret === undefined), {
    message: "want either databaseUrl or databaseUrlSecret",
  })
  .transform(({ databaseUrl, port, ...rest }) => ({
    ...rest,
    port,
    databaseUrl: databaseUrl?.apply((text) => atPort(text, port)),
  }));
type Spec = z.output<typeof ConversationStoreSchema>;

/** Postgres that keeps the conversations. One of `databaseUrl` and `databaseUrlSecret`. */
export interface ConversationStoreArgs {
  /** `postgres://user:password@host:5432/database`; give it as a Pulumi secret. It goes into a Secret of its own; a change exchanges the pod. */
  databaseUrl?: pulumi.Input<string>;
  /** A Secret of the same namespace, and its key with the URL. After a change of it restart the pod yourself. */
  databaseUrlSecret?: { name: pulumi.Input<string>; key: string };
  /** Port of the server, 1 to 65535: the only one that network policies let the service go to for it. @default 5432 */
  port?: number;
}

/** Where a pod finds the URL: a Secret's name and key. Makes the Secret where the URL itself was given. */
export function databaseUrlRef(
  owner: pulumi.Resource,
  name: string,
  namespace: pulumi.Input<string>,
  labels: Record<string, string>,
  { databaseUrl, databaseUrlSecret }: Spec,
): { name: pulumi.Input<string>; key: string } {
  if (databaseUrlSecret !== undefined) return databaseUrlSecret;
  // Without a name of ours each change makes another Secret, and so another pod; the old pod keeps the old one until it is gone.
  const secret = new k8s.core.v1.Secret(
    childName(name, "database"),
    { metadata: { namespace, labels }, immutable: true, stringData: { [URL_KEY]: databaseUrl ?? "" } },
    { parent: owner },
  );
  return { name: secret.metadata.name, key: URL_KEY };
}

/** Arguments as they are recorded: a component's are in the state too, and a plain URL among them would be readable there. */
export function sealed<A extends { conversationStore?: ConversationStoreArgs }>(args: A): A {
  const url = args.conversationStore?.databaseUrl;
  if (url === undefined) return args;
  return { ...args, conversationStore: { ...args.conversationStore, databaseUrl: pulumi.secret(url) } };
}

/** Pure: the URL, where it leads to this port; network policies would hold up any other. @throws ArgsError, which does not say the URL */
export function atPort(url: string, port: number): string {
  const named = urlOf(url)?.port;
  if (Number(named === "" ? POSTGRES_PORT : named) === port) return url;
  throw new ArgsError(`conversationStore.port: databaseUrl has another port than ${port}; give the same one here`);
}

function urlOf(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url !== undefined && /^postgres(ql)?:$/.test(url.protocol) && url.hostname !== "" ? url : undefined;
}
