import * as pulumi from "@pulumi/pulumi";
import type { StackOutputs } from "./deploy.ts";
import { deploy } from "./deploy.ts";
import { parseSettings } from "./settings.ts";
import { parseTokens } from "./token.ts";

/**
 * The program of every stack; `config/Pulumi.<stack>.yaml` says what it builds. Everything that can be wrong with the settings is found
 * before the first resource is asked for.
 * @throws SettingsError
 */
export default async function stack(): Promise<StackOutputs> {
  const config = new pulumi.Config("gorkheavy");
  const settings = parseSettings(config.getObject("settings"));
  const token = config.getSecret("proxmoxApiToken");
  const tokens = parseTokens(
    token === undefined ? undefined : await textOf(token),
    settings.hosts.map((host) => host.name),
  );
  return deploy(settings, tokens);
}

/** The text of a secret of the configuration, which is always known. It goes on only through `pulumi.secret`. */
function textOf(secret: pulumi.Output<string>): Promise<string> {
  return new Promise((resolve) => {
    secret.apply(resolve);
  });
}
