"""A session as a page or as JSON."""

from __future__ import annotations

import html
import json
from typing import Literal

from iterreason.chat.session import Session
from iterreason.chat.store import state_line
from iterreason.display import html_result, result_json
from iterreason.trace import plain


def exported(session: Session, form: Literal["html", "json"]) -> str:
    """All questions of the session with their rounds and results, self-contained."""
    if form == "json":
        value = {
            **state_line(session),
            "memory": plain(session.memory),
            "questions": [result_json(exchange.result) for exchange in session.exchanges],
        }
        return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    title = html.escape(", ".join(image.name for image in session.images))
    body = "\n".join(f"<section>{html_result(exchange.result)}</section>" for exchange in session.exchanges)
    style = "body{max-width:60rem;margin:2rem auto;padding:0 1rem}section{margin:0 0 1.5rem}"
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>iterreason: {title}</title>\n'
        f"<style>{style}</style>\n<h1>{title}</h1>\n{body}\n</html>\n"
    )
