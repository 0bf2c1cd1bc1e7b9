import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";

/** Arguments that a component refuses. The message names every bad field; Pulumi prints it without a stack. */
export class ArgsError extends pulumi.ResourceError {
  override readonly name = "ArgsError";

  constructor(message: string, owner?: pulumi.Resource) {
    super(message, owner, true);
  }
}

/** Checks args now; one error lists every bad field. @throws ArgsError tied to `owner`. */
export function parseArgs<S extends z.ZodType>(owner: pulumi.Resource, schema: S, args: z.input<S>): z.output<S> {
  const parsed = schema.safeParse(args);
  if (parsed.success) return parsed.data;
  throw new ArgsError(z.prettifyError(parsed.error), owner);
}

/** A field that may settle later: a plain value is checked now, any other when it resolves. Unknown at preview: unchecked. */
export function later<S extends z.ZodType>(field: string, inner: S) {
  return z.custom<pulumi.Input<z.input<S>>>().transform((value, ctx): pulumi.Output<z.output<S>> => {
    if (pulumi.Output.isInstance(value) || value instanceof Promise) {
      return pulumi.output(value).apply((settled): z.output<S> => {
        const parsed = inner.safeParse(settled);
        if (parsed.success) return parsed.data;
        throw new ArgsError(`${field}: ${z.prettifyError(parsed.error)}`);
      });
    }
    const parsed = inner.safeParse(value);
    if (parsed.success) return pulumi.output(null).apply((): z.output<S> => parsed.data);
    ctx.addIssue({ code: "custom", message: z.prettifyError(parsed.error) });
    return z.NEVER;
  });
}

/** Logical name of a component's further child: `<component>-<token>`. It is public: renaming one re-creates it. */
export function childName(name: string, token: string): string {
  return `${name}-${token}`;
}
