import asyncio

from fastapi import FastAPI, UploadFile
from fastapi.responses import HTMLResponse, StreamingResponse

app = FastAPI()


# Asked until it answers: then the instance is ready.
@app.get("/health")
def health():
    return "ok"


@app.get("/", response_class=HTMLResponse)
def page():
    return "<h1>A page</h1>"


# Compressed by the extension for those who ask.
@app.get("/items")
def items():
    return [{"name": "item"}] * 1000


# FastAPI keeps large files on disk while it reads them: `/tmp` of the function must have room.
@app.post("/upload")
async def upload(file: UploadFile):
    size = 0
    while chunk := await file.read(1 << 20):
        size += len(chunk)
    return {"bytes": size}


# Each event is sent when it is there.
@app.get("/events")
async def events():
    async def made():
        for count in range(2):
            yield f"data: {count}\n\n"
            await asyncio.sleep(2)

    return StreamingResponse(made(), media_type="text/event-stream")
