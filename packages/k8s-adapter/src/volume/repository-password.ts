import { SECRETS } from "../kube/core-types.ts";
import type { CallOptions } from "@varve/core";
import { isKubeError, type KubeObject } from "../kube/kube-api.ts";
import type { Context } from "../server/context.ts";

/** The one password of all volume repositories, in a Secret beside the resources (spec section 4.4). */

const SECRET_NAME = "velero-repo-credentials";
const SECRET_KEY = "repository-password";
/** What Velero writes, and everybody knows: only for those who ask for it. */
const VELERO_PASSWORD = "static-passw0rd";

/**
 * The password. Where there is none yet it is made at random, and kept: whoever loses it loses all volume data, so it
 * belongs into the cluster's own backup. Throws `KubeError`.
 */
export async function repositoryPassword(
  { kube, namespace, environment, settings }: Context,
  { signal }: CallOptions = {},
): Promise<string> {
  const name = { namespace, name: SECRET_NAME };
  const found = await readPassword(() => kube.get(SECRETS, name, { signal }));
  if (found !== undefined) {
    return found;
  }
  const random = Buffer.from(environment.randomBytes(32)).toString("base64url");
  const made = settings.publicRepositoryPassword ? VELERO_PASSWORD : random;
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: name,
    type: "Opaque",
    data: { [SECRET_KEY]: Buffer.from(made).toString("base64") },
  };
  try {
    await kube.create(SECRETS, secret, { signal });
    return made;
  } catch (error) {
    if (!isKubeError(error, "already-exists")) {
      throw error;
    }
    // Another process was faster, or the secret lacks the key: its own password counts.
    const theirs = await readPassword(() => kube.get(SECRETS, name, { signal }));
    if (theirs === undefined) {
      throw new Error(`secret ${namespace}/${SECRET_NAME} has no key ${SECRET_KEY}`, {
        cause: error,
      });
    }
    return theirs;
  }
}

async function readPassword(read: () => Promise<KubeObject>): Promise<string | undefined> {
  try {
    const { data } = (await read()) as { data?: Record<string, string> };
    const encoded = data?.[SECRET_KEY];
    const password = Buffer.from(encoded ?? "", "base64")
      .toString("utf8")
      .trim();
    return password === "" ? undefined : password;
  } catch (error) {
    if (isKubeError(error, "not-found")) {
      return undefined;
    }
    throw error;
  }
}
