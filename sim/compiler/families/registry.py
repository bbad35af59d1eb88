"""The architectures that can be read, by the names of Hugging Face."""

from sim.compiler.families.gemma import GEMMA
from sim.compiler.families.gpt2 import GPT2
from sim.compiler.families.llama import LLAMA
from sim.compiler.families.mistral import MISTRAL
from sim.compiler.families.qwen import QWEN2, QWEN3

__all__ = ["ARCHITECTURES"]

ARCHITECTURES = {
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": MISTRAL,
    "Qwen2ForCausalLM": QWEN2,
    "Qwen3ForCausalLM": QWEN3,
    "GemmaForCausalLM": GEMMA,
    "GPT2LMHeadModel": GPT2,
}
