import type { Admission, TokensUsed } from "../gate.ts";
import type { Grant, Guard, Pass } from "../horn/guard.ts";
import type { AccessGate } from "./access-gate.ts";

/** The gate before the horn: a socket costs nothing, each of its questions is a request like any other. */
export function hornGuard(gate: AccessGate, model: string): Guard {
  return {
    check: (token, address, headers): Pass => {
      const caller = gate.caller(headers, address, token);
      return {
        owner: caller.subject,
        ask: (user) => {
          const admitted = gate.take(gate.caller(headers, address, token));
          return admitted instanceof Promise
            ? admitted.then((one) => grantOf(one, model, user))
            : grantOf(admitted, model, user);
        },
      };
    },
  };
}

/** @throws Fault forbidden */
function grantOf(admission: Admission, model: string, named: string | undefined): Grant {
  admission.checkModel([model]);
  return { user: admission.userFor(named), spent: (used: TokensUsed) => admission.settle(used) };
}
