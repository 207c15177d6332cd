import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import { scrub } from "../../src/internal/scrub.ts"

const secrets = [
  "sk-proj-abcDEF123456789012345678",
  "sk-ant-api03-abcdefghijklmnop",
  "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
  "github_pat_11ABCDEFG0123456789",
  "xoxb-123456789012-abcdefghijkl",
  "AKIAIOSFODNN7EXAMPLE",
  "AIzaSyA-abcdefghijklmnopqrstuvwxyz12345",
  "hf_abcdefghijklmnopqrstuvwx",
  "npg_a1b2c3d4e5f6",
  "pcsk_abcde_fghijklmnop",
  "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
  "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY1"
]

it("masks keys and tokens wherever they stand", () => {
  for (const secret of secrets) {
    for (const text of [secret, `key ${secret}, sorry`, `{"k":"${secret}"}`, `(${secret})`, `a=${secret}&b=1`]) {
      assert.notInclude(scrub(text), secret.slice(4, 14), text)
    }
  }
})

it("masks passwords, connection strings and headers", () => {
  const texts = [
    "connect postgresql://admin:hunter2@db.example.com:5432/main?sslmode=require failed",
    "redis://:hunter2@10.0.0.1:6379",
    "mongodb+srv://u:hunter2@cluster0.example.net",
    "GET https://user:hunter2@example.com/x",
    "password=hunter2 host=x",
    "{\"password\":\"hunter2\"}",
    "{\\\"apiKey\\\":\\\"hunter2\\\"}",
    "Authorization: Bearer hunter2hunter2",
    "authorization: Basic aHVudGVyMg==hunter2",
    "x-api-key: hunter2",
    "https://example.com/?api_key=hunter2&x=1",
    "AWS_SECRET_ACCESS_KEY=hunter2",
    "client_secret='hunter2'",
    "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----\nhunter2"
  ]
  for (const text of texts) assert.notInclude(scrub(text), "hunter2", text)
  assert.notInclude(scrub(texts[0] ?? ""), "example.com")
})

it("leaves the rest as it is", () => {
  const texts = [
    "connect ECONNREFUSED 127.0.0.1:5432",
    "password authentication failed for user \"admin\"",
    "Incorrect API key provided",
    "request id req_1332ed8a813a4caaa2f0f3c55a6a68cb",
    "the token expired",
    "relation \"docs\" does not exist",
    "task-force of desk-tops"
  ]
  for (const text of texts) assert.strictEqual(scrub(text), text)
})

it("cuts long messages without cutting a secret in two", () => {
  const secret = "sk-proj-abcDEF123456789012345678"
  for (let length = 2_000; length < 2_060; length++) {
    assert.notInclude(scrub(`${"postgres://a:b@c/d ".repeat(200).slice(0, length)} ${secret}`), "sk-proj-a")
  }
  assert.isAtMost(scrub("word ".repeat(10_000)).length, 500)
  assert.strictEqual(scrub("x".repeat(10_000)), "***")
})

it.prop("a secret never comes through, whatever stands around it", {
  before: Schema.String,
  after: Schema.String,
  which: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: secrets.length - 1 }))
}, ({ after, before, which }) => {
  const secret = secrets[which] ?? ""
  assert.notInclude(scrub(`${before} ${secret} ${after}`), secret)
})
