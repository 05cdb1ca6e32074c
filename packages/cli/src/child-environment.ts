/** The environment for a program that somebody else wrote: without what opens a repository. */
export function childEnvironment(
  more: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string | undefined>> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(VARVE|KOPIA)_.*PASSWORD/i.test(name),
  );
  return { ...Object.fromEntries(inherited), ...more };
}
