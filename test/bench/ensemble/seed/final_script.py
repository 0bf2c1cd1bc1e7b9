# The orchestrator of the seed (document 001, "Model Orchestration"), rebuilt as it stands there: the same calls in the same order with the
# same library, `final_script.py`. Only the hosts are given from outside, and each reply is followed by a line `END` so that a program can read it.
import asyncio
import json
import os
import sys

import aiohttp

api_endpoints = json.loads(os.environ["API_ENDPOINTS"])
models = {
    "promptimizer": "granite4:350m",
    "llama": "llama3.2:1b",
    "qwen": "qwen2.5-coder:1.5b",
    "qwen_small": "qwen3:0.6b",
    "judge": "gemma3:1b",
}
conversation_memory = []  # Rolling buffer


async def generate(session, name, prompt):
    body = {"model": models[name], "prompt": prompt, "stream": False}
    async with session.post(api_endpoints[name], json=body) as response:
        data = await response.json()
        return data["response"]


async def promptimizer(session, user_input):
    return await generate(session, "promptimizer", f"Rewrite this query for clarity and conciseness, reply with the query only: {user_input}")


async def send_qwen_small(session, prompt):
    return await generate(session, "qwen_small", prompt)


async def send_qwen(session, prompt):
    return await generate(session, "qwen", prompt)


async def send_llama(session, prompt):
    return await generate(session, "llama", prompt)


async def send_all_models(session, user_input):
    optimized_prompt = await promptimizer(session, user_input)
    # Execute 3 models concurrently
    return await asyncio.gather(
        send_qwen_small(session, optimized_prompt),
        send_qwen(session, user_input),
        send_llama(session, user_input),
        return_exceptions=True,
    )


async def send_judge(session, user_input, responses):
    context = conversation_memory[-5:]  # Last 5 messages for context
    listed = "\n\n".join(f"Response {i + 1}: {r}" for i, r in enumerate(responses) if isinstance(r, str))
    prompt = (
        "Evaluate these responses for correctness, completeness, clarity, usefulness and conversation context, "
        "and reply with the best answer.\n\n"
        f"Conversation: {json.dumps(context)}\n\nUser: {user_input}\n\n{listed}"
    )
    return await generate(session, "judge", prompt)


async def main():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        for line in sys.stdin:
            user_input = line.strip()
            if user_input == "exit":
                break
            responses = await send_all_models(session, user_input)
            response = await send_judge(session, user_input, responses)
            conversation_memory.append({"role": "judge", "content": response})
            print(f"Reply: {response}\nEND", flush=True)


asyncio.run(main())
