/** A tool that the lab can run, and where it came from. */
export interface Resolved {
  name: string;
  /** Absolute path of the program. */
  path: string;
  version: string;
  /** `PATH`: was installed; `release`: downloaded just now; `built`: compiled just now; `cache`: from an earlier run. */
  source: "PATH" | "release" | "built" | "cache";
  /** How long finding or making it took, ms. */
  ms: number;
}
