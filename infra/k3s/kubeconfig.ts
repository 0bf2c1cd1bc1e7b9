import { parse, stringify } from "yaml";
import { z } from "zod";
import { CREDENTIALS_MARK } from "./service-script.ts";

/** What K3s writes; fields that we do not know stay as they are. */
const KubeconfigSchema = z.looseObject({
  clusters: z.tuple([z.looseObject({ name: z.string(), cluster: z.looseObject({ server: z.string() }) })]),
  users: z.tuple([z.looseObject({ name: z.string(), user: z.looseObject({}) })]),
  contexts: z.tuple([
    z.looseObject({ name: z.string(), context: z.looseObject({ cluster: z.string(), user: z.string() }) }),
  ]),
});

/** What the server hands out. */
export interface Credentials {
  /** `K10<checksum of the CA>::server:<password>`; the checksum lets an agent check the server (A25). */
  token: string;
  /** As K3s wrote it. */
  kubeconfig: string;
}

/** Takes what the credentials step printed apart. @throws Error, without showing the text */
export function parseCredentials(text: string): Credentials {
  const [token, kubeconfig] = text.split(`${CREDENTIALS_MARK}\n`);
  if (token === undefined || kubeconfig === undefined || !/^K10[0-9a-f]{64}::\S+$/.test(token.trim())) {
    throw new Error(
      "the server's token file or kubeconfig is not as K3s writes it (not shown); look at it on the server",
    );
  }
  return { token: token.trim(), kubeconfig };
}

/**
 * The kubeconfig for use from elsewhere: the server's address in place of 127.0.0.1, and cluster, user and context by the cluster's
 * name in place of `default`, so that it can be merged with others.
 * @throws Error, without showing the text
 */
export function renderKubeconfig(text: string, name: string, serverAddress: string): string {
  const parsed = KubeconfigSchema.safeParse(parse(text));
  if (!parsed.success)
    throw new Error(`the server's kubeconfig is not as K3s writes it: ${z.prettifyError(parsed.error)}`);
  const { clusters, users, ...rest } = parsed.data;
  const user = `${name}-admin`;
  return stringify(
    {
      ...rest,
      clusters: [
        { ...clusters[0], name, cluster: { ...clusters[0].cluster, server: `https://${serverAddress}:6443` } },
      ],
      users: [{ ...users[0], name: user }],
      contexts: [{ name, context: { cluster: name, user } }],
      "current-context": name,
    },
    { lineWidth: 0 },
  );
}
