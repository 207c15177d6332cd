/**
 * A number in [0, 1) that depends on nothing but its arguments: the n-th draw of a stream of a seed. Where decisions are
 * drawn by number, not by order, a run replays whatever its fibers' interleaving is.
 *
 * The mixing is the finaliser of MurmurHash3 (32 bits).
 */
export const draw = (seed: number, stream: number, n: number): number => {
  const mixed = mix(mix(mix(seed) ^ stream) ^ n)
  return mixed / 0x1_0000_0000
}

const mix = (value: number): number => {
  let h = (value + 0x9e37_79b9) | 0
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35)
  return (h ^ (h >>> 16)) >>> 0
}
