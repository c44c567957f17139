// The page: it listens through the gateway and sends through its own backend.
import { connect } from "/roomcast.js";

const element = (id) => document.getElementById(id);

function show(text, name) {
  const item = document.createElement("li");
  if (name === undefined) {
    item.className = "hint";
  } else {
    const author = document.createElement("b");
    author.textContent = name;
    item.append(author);
  }
  item.append(text);
  element("said").append(item);
}

async function askBackend() {
  const answer = await fetch("/token");
  if (!answer.ok) throw new Error(`the backend answered ${answer.status}`);
  return answer.json();
}

// The first answer also has the gateway's address. Until the backend answers, this asks again.
async function firstAnswer() {
  for (;;) {
    try {
      return await askBackend();
    } catch {
      await new Promise((resume) => setTimeout(resume, 1000 + Math.random() * 2000));
    }
  }
}

let first = await firstAnswer();
const { gateway, room } = first;

connect({
  url: gateway,
  rooms: [room],
  durable: true,
  async getToken() {
    const { token } = first ?? (await askBackend());
    first = null;
    return token;
  },
  onnotice({ type, data }) {
    if (type === "said") show(data.text, data.name);
  },
  // Redis keeps messages for an hour. An application with a history of its own would fetch older ones here, at a random
  // moment within a few seconds, because many clients may miss the same.
  ongap: () => show("… some messages are missing …"),
  onstatus: ({ status }) => (element("status").value = status),
});

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = element("text");
  const body = JSON.stringify({ name: element("name").value, text: text.value });
  const sent = await fetch("/say", { method: "POST", body }).then((answer) => answer.ok, () => false);
  if (sent) text.value = "";
  else show("not sent: try again");
});
