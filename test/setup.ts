import * as Arbitrary from "effect/Arbitrary"

// One seed replays a failed property: PROPERTY_SEED=42 PROPERTY_RUNS=1000 npm test
Arbitrary.configureGlobal({
  check: {
    runs: Number(process.env["PROPERTY_RUNS"] ?? 100),
    ...(process.env["PROPERTY_SEED"] === undefined ? {} : { seed: Number(process.env["PROPERTY_SEED"]) })
  }
})
