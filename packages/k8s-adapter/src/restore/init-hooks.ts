import { annotation, parseHookCommand } from "../hooks/hook-annotations.ts";
import { selectsPod } from "../hooks/restore-hooks.ts";
import type { KubeObject } from "../kube/kube-api.ts";
import { RESTORE_WAIT } from "../volume/restore-wait.ts";
import type { RestoreAction } from "./action.ts";

/** Init containers that run before a restored pod's own: semantics spec section 6.2. */

const PREFIX = "init.hook.restore.velero.io";

type InitContainer = Record<string, unknown>;

export const initHookAction: RestoreAction = {
  name: "velero.io/init-restore-hook",
  appliesTo: ({ group, resource }) => group === "" && resource === "pods",
  async execute({ context, restore }, { object }) {
    const mapping = restore.spec.namespaceMapping ?? {};
    const { namespace = "" } = object.metadata;
    const target = {
      ...object,
      metadata: { ...object.metadata, namespace: mapping[namespace] ?? namespace },
    };
    const random = Buffer.from(context.environment.randomBytes(4)).toString("hex");
    const fromSpec = (restore.spec.hooks?.resources ?? [])
      .filter((hook) => selectsPod(hook, target))
      .flatMap(({ postHooks = [] }) => postHooks.flatMap(({ init }) => init?.initContainers ?? []));
    const annotated = annotatedContainer(object, `velero-restore-init-${random}`);
    const added = annotated === undefined ? fromSpec : [annotated];
    if (added.length > 0) {
      const spec = (object["spec"] ?? {}) as { initContainers?: InitContainer[] };
      const own = spec.initContainers ?? [];
      const first = own[0]?.["name"] === RESTORE_WAIT ? 1 : 0; // volumes are filled before
      spec.initContainers = [...own.slice(0, first), ...added, ...own.slice(first)];
    }
    return { object };
  },
};

function annotatedContainer(pod: KubeObject, generated: string): InitContainer | undefined {
  const image = annotation(pod, `${PREFIX}/container-image`);
  const command = annotation(pod, `${PREFIX}/command`);
  return image === undefined || command === undefined
    ? undefined
    : {
        name: annotation(pod, `${PREFIX}/container-name`) ?? generated,
        image,
        command: parseHookCommand(command),
      };
}
