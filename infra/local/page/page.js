/**
 * The form: the request goes to the API as any caller's, and its result is written down as text,
 * never as markup.
 */
const form = document.querySelector("#compose");
const outcome = document.querySelector("#outcome");
const conversation = document.querySelector("#conversation");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  const button = form.querySelector("button");
  button.disabled = true;
  outcome.textContent = "Sending …";
  conversation.hidden = true;
  try {
    await send(fields);
  } catch {
    outcome.textContent = "The stack does not answer. Was it ended?";
  } finally {
    button.disabled = false;
  }
});

async function send(fields) {
  const to = String(fields.get("to"))
    .split(",")
    .map((address) => address.trim());
  const headers = { "content-type": "application/json" };
  if (fields.has("later")) headers.prefer = "respond-async";
  const body = JSON.stringify({ to, subject: fields.get("subject"), text: fields.get("text") });
  const response = await fetch("/messages", { method: "POST", headers, body });
  const answer = await response.json();
  if (response.status === 202) {
    outcome.textContent = `202: ${answer.state}, id ${answer.id}`;
    await follow(response.headers.get("location"));
  } else {
    show(response.status, answer.result ?? answer, answer.detail);
  }
  await refresh();
}

/** What is deferred comes back from the queue after a minute at the earliest; this waits for less. */
async function follow(location) {
  for (let tries = 0; tries < 30; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const message = await (await fetch(location)).json();
    if (message.result) return show(message.state, message.result, message.result.error?.message);
    outcome.textContent = `${message.state}, id ${message.id}`;
  }
}

function show(status, result, detail) {
  const reply = result.reply ? `${result.reply.code} ${result.reply.text}` : "";
  outcome.textContent = [status, result.outcome, detail ?? reply].filter(Boolean).join(": ");
  const lines = (result.transcript ?? []).map(({ at, from, text }) => {
    const line = document.createElement("li");
    line.textContent = `${at.toFixed(1).padStart(8)} ms  ${from}: ${text}`;
    return line;
  });
  conversation.replaceChildren(...lines);
  conversation.hidden = lines.length === 0;
}

async function refresh() {
  const page = await (await fetch("/")).text();
  const parsed = new DOMParser().parseFromString(page, "text/html");
  document.querySelector("#inbox").replaceWith(parsed.querySelector("#inbox"));
}
