// What an operator does by hand. The token is asked for once, and kept in this page alone.
import { $, setText } from "./dom.js"

let token

const askToken = () =>
  new Promise((resolve) => {
    const dialog = $("ask")
    $("token").value = ""
    dialog.returnValue = "cancel"
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok" ? $("token").value : undefined), {
      once: true
    })
    dialog.showModal()
  })

// No submit button, or Enter would press it.
$("ask").querySelector("button[type=button]").addEventListener("click", () => $("ask").close("cancel"))

export const say = (text) => setText($("said"), text)

/** Posts an action; gives what the server answered, or nothing where it did not do it. */
export const act = async (path, body, what) => {
  token ??= await askToken()
  if (!token) return undefined
  const response = await fetch(`/api/fault-tolerance/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify(body)
  }).catch(() => undefined)
  if (response?.ok) {
    say(`${what}: done`)
    return response.json()
  }
  if (response?.status === 401) token = undefined
  const problem = await response?.json().catch(() => undefined)
  say(
    response?.status === 401
      ? "The token is wrong: nothing was changed"
      : `${what}: ${problem?.detail ?? "the server did not answer"}`
  )
  return undefined
}
