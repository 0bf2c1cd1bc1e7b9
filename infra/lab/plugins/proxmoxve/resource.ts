import type {
  CheckCall,
  CheckFailure,
  CreateCall,
  DeleteCall,
  DiffCall,
  DiffResult,
  Properties,
  ReadCall,
  UpdateCall,
} from "../provider.ts";
import type { PveClient } from "./client.ts";

/** One resource type of the provider: the plugin's calls, with the client that the settings led to. */
export interface Resource {
  check(call: CheckCall): Promise<{ inputs: Properties; failures: CheckFailure[] }>;
  diff(call: DiffCall): Promise<DiffResult>;
  create(call: CreateCall, client: PveClient): Promise<{ id: string; properties: Properties }>;
  read(
    call: ReadCall,
    client: PveClient,
  ): Promise<{ id: string; inputs: Properties; properties: Properties } | undefined>;
  update(call: UpdateCall, client: PveClient): Promise<{ properties: Properties }>;
  delete(call: DeleteCall, client: PveClient): Promise<void>;
}
