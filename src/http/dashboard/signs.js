/** How states and levels are told: a sign, words, and whether that is good. */
export const glyphs = { Closed: "●", Open: "■", ReadyToProbe: "◇", HalfOpen: "◆", ForcedOpen: "▲", Disabled: "–" }
export const words = {
  Closed: "closed",
  Open: "open",
  ReadyToProbe: "ready to probe",
  HalfOpen: "half open",
  ForcedOpen: "held open",
  Disabled: "disabled"
}
export const levels = ["Full", "Reduced", "Basic", "Minimal", "Emergency"]
export const levelWords = ["Full service", "Reduced", "Basic", "Minimal", "Emergency"]
export const levelGlyphs = ["●", "◐", "◑", "◔", "○"]
export const levelKind = ["good", "warn", "warn", "bad", "bad"]
