import { fileURLToPath } from "node:url";
import { type KubeAccess, kubectl } from "@varve/testenv/kube.ts";

const crds = fileURLToPath(new URL("../../crds", import.meta.url));

/** Velero's resource definitions, served when this resolves. Those of other tests, which may be going, are not waited for. */
export async function applyDefinitions(access: KubeAccess): Promise<void> {
  const names = await kubectl(access, ["apply", "-k", crds, "-o", "name"]);
  const established = ["--for=condition=Established", "--timeout=60s"];
  await kubectl(access, ["wait", ...names.trim().split("\n"), ...established]);
}
