import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";

/** Arguments that cannot work. Prints as one clean message on the component, without a stack. */
export class ArgsError extends pulumi.ResourceError {
  constructor(message: string, owner?: pulumi.Resource) {
    super(message, owner, true);
    this.name = "ArgsError";
  }
}

/**
 * Checks a component's plain arguments now; one error lists every bad field. zod's messages echo no values.
 * @throws ArgsError tied to `owner`
 */
export function parseArgs<S extends z.ZodType>(owner: pulumi.Resource, schema: S, args: unknown): z.output<S> {
  const parsed = schema.safeParse(args);
  if (parsed.success) return parsed.data;
  throw new ArgsError(z.prettifyError(parsed.error), owner);
}

/**
 * A text field that may settle later: a plain value is checked now, the rest when it resolves; unknown at preview is unchecked.
 * The result is always an Output. Messages name `field` and never show the value, which may be a secret.
 * @param check what is wrong with a value; undefined when nothing is
 */
export function later(
  field: string,
  check: (value: string) => string | undefined,
): z.ZodType<pulumi.Output<string>, pulumi.Input<string>> {
  return z
    .custom<pulumi.Input<string>>((value) => value !== undefined && value !== null, { error: `${field}: missing` })
    .transform((value, context): pulumi.Output<string> => {
      if (pulumi.Output.isInstance(value) || value instanceof Promise) {
        return pulumi.output(value).apply((settled) => {
          const problem = check(settled);
          if (problem !== undefined) throw new ArgsError(`${field}: ${problem}`);
          return settled;
        });
      }
      const problem = check(value);
      if (problem !== undefined) context.addIssue({ code: "custom", message: `${field}: ${problem}` });
      return pulumi.output(value);
    });
}

/**
 * Logical name of a child: `k3s-master` and `seed` make `k3s-master-seed`. Members of a collection pass their own name, never
 * their position, so that removing one renames nobody.
 */
export function childName(parent: string, token: string): string {
  return `${parent}-${token}`;
}

/** A name that is also a host name and a Kubernetes node name. Source: RFC 1123, section 2.1; one label only. */
export const HostName = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, {
  error: "want 1 to 63 of a-z, 0-9 and -, not starting or ending with -",
});
