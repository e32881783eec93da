// Asks the instances behind the front door and lists which one answered, and how fast.
const answers = document.getElementById("answers");

async function ask() {
  answers.replaceChildren();
  for (let turn = 0; turn < 10; turn += 1) {
    const line = document.createElement("li");
    answers.append(line);
    const started = performance.now();
    try {
      const response = await fetch("/api/ping", { cache: "no-store" });
      const text = (await response.text()).trim();
      const milliseconds = (performance.now() - started).toFixed(1);
      line.textContent = `${response.ok ? text : response.status}  ${milliseconds} ms`;
    } catch (error) {
      line.textContent = String(error);
    }
  }
}

document.getElementById("ask").addEventListener("click", ask);
