"""Writes the golden runs anew; `git diff tests/golden` then shows what changed.

python tests/golden/regenerate.py
"""

from golden_world import HOME, lines

if __name__ == "__main__":
    text = "\n".join(lines()) + "\n"
    HOME.write_text(text, encoding="utf-8")
    print(f"{HOME}: {text.count(chr(10))} runs")
