/** Amounts as Kubernetes writes them: `64Mi`, `1.5G`, `500m`, `1e3`. */

const FACTORS: Readonly<Record<string, number>> = {
  "": 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** `undefined` for what is no amount. */
export function parseQuantity(text: string): number | undefined {
  const [, value = "", suffix = ""] =
    /^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(|n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)$/.exec(
      text,
    ) ?? [];
  const factor = FACTORS[suffix];
  return value === "" || factor === undefined ? undefined : Number(value) * factor;
}
