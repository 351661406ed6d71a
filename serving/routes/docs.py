"""Swagger UI, from files of an installed package: it works without a network."""

from importlib.resources import files
from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

ASSETS: Final = "/docs/assets"


def install_docs(app: FastAPI) -> None:
    """Give the app the page `/docs` and the files that it needs."""
    app.mount(ASSETS, StaticFiles(directory=str(files("fastapi_swagger.resources"))), name="docs-assets")

    async def docs(request: Request) -> HTMLResponse:
        del request
        return get_swagger_ui_html(
            openapi_url=app.openapi_url or "",
            title=f"{app.title}: API",
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon-32x32.png",
        )

    app.add_route("/docs", docs, include_in_schema=False)
