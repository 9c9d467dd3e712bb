"""THE MASK TRAP: packed documents must not see each other; settings with which they do are refused."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, modeling_flash_attention_utils
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

from training.errors import LeakyMaskError
from training.model.attention import LEAST_LENGTHS, attention_of, boundaries, check_isolation, packed_inputs
from training.run.evaluate import evaluate
from training.tokens.packing import IGNORE, plan

ROW = 128
LENGTHS = [40, 17, 1, 61, 9, 33, 90]
VOCABULARY = 300
FAMILIES = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
    "starcoder2": {"sliding_window": None},
    "mistral": {"sliding_window": 16},
    "gemma": {"head_dim": 16},
    "gpt_neox": {},
    "gpt2": {},
}
"""Architectures and the sizes that are not the same for all; Mistral with a window shorter than documents."""


def model_with(attention: str, family: str = "llama", **more) -> torch.nn.Module:
    torch.manual_seed(0)
    config = CONFIG_MAPPING[family](
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        **{"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0} if family == "gpt2" else {},
        **FAMILIES.get(family, {}),
        **more,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    with torch.no_grad():  # as far from alike as a trained model's: leaks are seen
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    return model.eval()


def packed_rows() -> tuple[np.ndarray, dict[str, torch.Tensor], np.ndarray, np.ndarray]:
    """(flat tokens, forward arguments of all rows, document of each place, label of each place)."""
    flat = np.random.default_rng(1).integers(10, VOCABULARY, sum(LENGTHS)).astype(np.uint16)
    packed = plan(np.array(LENGTHS), ROW)
    assert packed.rows == 2
    rows = packed.fill(flat, np.arange(2), 1)
    inputs = {"input_ids": torch.from_numpy(rows.ids), "position_ids": torch.from_numpy(rows.positions)}
    return flat, inputs, rows.document, rows.labels


def documents_of(flat: np.ndarray) -> list[torch.Tensor]:
    return [torch.tensor(part.astype(np.int64)) for part in np.split(flat, np.cumsum(LENGTHS)[:-1])]


@torch.no_grad()
def farthest(model, arguments, flat, documents, alone_with=None) -> float:
    """The largest difference between the packed logits of a document and its own, by the spread of all logits."""
    packed = model(**arguments).logits
    worst = 0.0
    for number, ids in enumerate(documents_of(flat)):
        alone = (alone_with or model)(input_ids=ids[None], use_cache=False).logits[0]
        worst = max(worst, float((packed[torch.from_numpy(documents == number)] - alone).abs().max()))
    return worst / float(packed.std())


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_logits_are_those_of_the_document_alone(attention, family, training):
    flat, inputs, documents, _ = packed_rows()
    model = model_with(attention, family).train(training)
    assert farthest(model, packed_inputs(inputs, attention_of(model)), flat, documents) < 1e-4
    check_isolation(model, VOCABULARY)
    assert model.training == training


@pytest.mark.parametrize("family", ["llama", "mistral"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:flex_attention called without")
def test_flex_attention_keeps_documents_apart(family):
    """Its block mask, computed without being compiled; there is no backward pass on a processor."""
    flat, inputs, documents, _ = packed_rows()
    model, twin = model_with("flex_attention", family), model_with("sdpa", family)
    with torch.compiler.set_stance("force_eager"):
        for training in (False, True):
            packed = packed_inputs(inputs, attention_of(model))
            assert farthest(model.train(training), packed, flat, documents, twin) < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_flex_attention_compiled():
    flat, inputs, documents, _ = packed_rows()
    packed = packed_inputs(inputs, "flex_attention")
    assert farthest(model_with("flex_attention"), packed, flat, documents, model_with("sdpa")) < 1e-4


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_flash_attention_keeps_documents_apart(version, family):
    there = is_flash_attn_2_available() if version == 2 else is_flash_attn_3_available()
    if not torch.cuda.is_available() or not there:
        pytest.skip(f"flash-attention {version} needs a GPU and its package")
    flat, inputs, documents, _ = packed_rows()
    model = model_with(f"flash_attention_{version}", family).to("cuda", torch.bfloat16)
    check_isolation(model, VOCABULARY)
    moved = {
        name: value.to("cuda") if isinstance(value, torch.Tensor) else value
        for name, value in packed_inputs(inputs, attention_of(model)).items()
    }
    with torch.no_grad():
        packed = model(**moved).logits.float().cpu()
    twin = model_with("sdpa", family)
    for number, ids in enumerate(documents_of(flat)):
        alone = twin(input_ids=ids[None], use_cache=False).logits[0]
        difference = (packed[torch.from_numpy(documents == number)] - alone).abs().max()
        assert difference < 0.2 * alone.std()


@pytest.fixture
def flash_on_a_processor(monkeypatch):
    """transformers' own path to flash attention, the kernels replaced by plain arithmetic of the same contract."""

    def whole(q, k, v, causal=True, softmax_scale=None, window_size=(-1, -1), **_):
        return torch.cat(
            [one(*(x[b] for x in (q, k, v)), softmax_scale, window_size)[None] for b in range(len(q))]
        )

    def one(q, k, v, scale, window):
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))
        k, v = (x.repeat_interleave(len(q) // len(x), 0) for x in (k, v))
        place = torch.arange(q.shape[1])
        far = place[:, None] - place[None]
        seen = (far >= 0) & ((far <= window[0]) if window[0] >= 0 else torch.ones_like(far, dtype=torch.bool))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale).transpose(0, 1)

    def lengths(
        q,
        k,
        v,
        cu_seqlens_q,
        cu_seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        softmax_scale=None,
        window_size=(-1, -1),
        **_,
    ):
        assert cu_seqlens_q.dtype == torch.int32
        assert torch.equal(cu_seqlens_q, cu_seqlens_k)
        assert max_seqlen_q == max_seqlen_k >= int(cu_seqlens_q.diff().max())
        assert (int(cu_seqlens_q[0]), int(cu_seqlens_q[-1])) == (0, len(q))
        result = torch.empty_like(q)
        for first, end in zip(cu_seqlens_q[:-1].tolist(), cu_seqlens_q[1:].tolist(), strict=True):
            if end > first:
                some = slice(first, end)
                result[some] = one(q[some], k[some], v[some], softmax_scale, window_size)
        return result

    def settings(
        query_length,
        key_length,
        is_causal,
        softmax_scale=None,
        sliding_window=None,
        max_seqlen_q=None,
        max_seqlen_k=None,
        **_,
    ):
        kept = {"softmax_scale": softmax_scale}
        if sliding_window is not None and key_length > sliding_window:
            kept["window_size"] = (sliding_window - 1, sliding_window - 1)
        if max_seqlen_q is not None:
            kept |= {"max_seqlen_q": max_seqlen_q, "max_seqlen_k": max_seqlen_k}
        return kept

    functions = ((whole, lengths, None, None, None), (settings, settings))
    monkeypatch.setattr(modeling_flash_attention_utils, "lazy_import_flash_attention", lambda *_: functions)

    def model(family: str = "llama") -> torch.nn.Module:
        made = model_with("sdpa", family)
        made.config._attn_implementation = "flash_attention_2"
        return made

    return model


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "starcoder2", "mistral", "gpt_neox"])
def test_flash_attention_is_told_where_documents_begin(flash_on_a_processor, family):
    flat, inputs, documents, _ = packed_rows()
    model, twin = flash_on_a_processor(family), model_with("sdpa", family)
    packed = packed_inputs(inputs, attention_of(model))
    assert farthest(model, packed, flat, documents, twin) < 1e-4
    check_isolation(model, VOCABULARY)


def test_flash_attention_without_boundaries_leaks_and_the_check_sees_it(flash_on_a_processor):
    """Two rows with position ids alone: transformers finds the boundaries in a batch of one row only."""
    flat, inputs, documents, _ = packed_rows()
    model = flash_on_a_processor()
    assert farthest(model, packed_inputs(inputs), flat, documents, model_with("sdpa")) > 0.1
    with pytest.raises(LeakyMaskError, match="see each other"):
        check_isolation(model, VOCABULARY, use_cache=False)


def test_boundaries_have_few_shapes():
    def of(count):
        return boundaries(torch.zeros((2, count // 2), dtype=torch.long))

    assert boundaries(torch.tensor([[0, 1, 2, 0, 0, 1], [0, 1, 0, 1, 2, 3]])).tolist() == (
        [0, 3, 4, 6, 8] + [12] * (LEAST_LENGTHS - 5)
    )
    assert {len(of(count)) for count in range(2, 64, 2)} == {64}
    assert [len(of(count)) for count in (62, 64, 126, 128)] == [64, 128, 128, 256]
    assert of(64)[-1] == 64


LEAKS = [
    "all-ones mask",
    "boolean mask",
    "use_cache",
    "no positions",
    "Trainer's collator",
    "generation cache",
]


def leaky(leak: str, inputs, documents) -> dict[str, object]:
    """Arguments with which documents see each other, of facts that were measured."""
    ones = torch.ones_like(inputs["input_ids"])
    same = torch.from_numpy(documents[:, :, None] == documents[:, None]) & torch.ones(ROW, ROW).tril().bool()
    if leak == "Trainer's collator":
        rows = [{"input_ids": row.tolist(), "labels": row.tolist()} for row in inputs["input_ids"]]
        made = transformers.default_data_collator(rows)
        return {"input_ids": made["input_ids"], "use_cache": False}
    return {
        "all-ones mask": {**inputs, "attention_mask": ones, "use_cache": False},
        "boolean mask": {**inputs, "attention_mask": same[:, None], "use_cache": False},
        "use_cache": {**inputs, "use_cache": True},
        "no positions": {"input_ids": inputs["input_ids"], "use_cache": False},
        "generation cache": {**inputs, "past_key_values": transformers.DynamicCache()},
    }[leak]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("leak", LEAKS)
def test_each_leaky_setting_leaks_and_is_refused(attention, leak):
    flat, inputs, documents, _ = packed_rows()
    model = model_with(attention)
    if (leak, attention) != ("boolean mask", "sdpa"):  # the one combination that is honoured
        assert farthest(model, leaky(leak, inputs, documents), flat, documents) > 0.05, (
            "the setting is no longer leaky: revise the refusal"
        )
    with pytest.raises(LeakyMaskError):
        packed_inputs(leaky(leak, inputs, documents))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_check_finds_leaks_of_the_model_itself(attention):
    model = model_with(attention)
    for arguments in ({"use_cache": True}, {"attention_mask": torch.ones(2, 19, dtype=torch.long)}):
        with pytest.raises(LeakyMaskError, match="see each other"):
            check_isolation(model, VOCABULARY, **arguments)


def test_collators_of_transformers_are_refused_or_right():
    """A padding collator makes a mask; the flattening one makes positions, and is right."""
    flat, _, _, _ = packed_rows()
    rows = [{"input_ids": ids.tolist()} for ids in documents_of(flat)]
    words = Tokenizer(WordLevel({str(n): n for n in range(VOCABULARY)}, unk_token="0"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="1")
    for collator in (
        transformers.DataCollatorForLanguageModeling(tokenizer, mlm=False),
        transformers.DataCollatorWithPadding(tokenizer),
    ):
        with pytest.raises(LeakyMaskError, match="attention_mask"):
            packed_inputs(collator(copy.deepcopy(rows)))
    flattened = transformers.DataCollatorWithFlattening()(copy.deepcopy(rows))
    documents = np.repeat(np.arange(len(LENGTHS)), LENGTHS)[None]
    inputs = {name: flattened[name] for name in ("input_ids", "position_ids")}
    assert farthest(model_with("sdpa"), packed_inputs(inputs), flat, documents) < 1e-4


def test_a_reloaded_model_with_its_cache_on_leaks_and_is_safe_through_us(tmp_path):
    """Trainer sets `config.use_cache` once, on the model that it is given; a reloaded one has its own."""
    flat, inputs, documents, _ = packed_rows()
    model_with("sdpa").save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert model.config.use_cache
    assert farthest(model, inputs, flat, documents) > 0.05
    assert farthest(model, packed_inputs(inputs), flat, documents) < 1e-4
    check_isolation(model, VOCABULARY)
    model.generate(inputs["input_ids"][:, :4], max_new_tokens=2, do_sample=False)
    assert farthest(model, packed_inputs(inputs), flat, documents) < 1e-4


def test_our_evaluation_measures_each_document_as_it_is_alone():
    flat, _, _, _ = packed_rows()
    model = model_with("sdpa")
    model.config.use_cache = True  # as a model is that was just loaded
    model.train()
    cache = SimpleNamespace(tokens=flat, language=np.zeros(len(LENGTHS), dtype=np.int64))
    sizes = np.ones(VOCABULARY, dtype=np.int32)
    total, _ = evaluate(
        model, plan(np.array(LENGTHS), ROW), cache, sizes, ["Python"], pad=1, rows_per_batch=2
    )
    assert model.training
    with torch.no_grad():
        nll = sum(
            float(
                F.cross_entropy(
                    model.eval()(input_ids=ids[None], use_cache=False).logits[0, :-1],
                    ids[1:],
                    reduction="sum",
                )
            )
            for ids in documents_of(flat)
            if len(ids) > 1
        )
    assert total.tokens == sum(LENGTHS) - len(LENGTHS)
    assert total.nll == pytest.approx(nll, rel=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_no_gradient_flows_from_one_document_to_another(attention):
    _, inputs, documents, labels = packed_rows()
    model = model_with(attention).train()
    embedded = model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
    packed = packed_inputs({"position_ids": inputs["position_ids"]})
    logits = model(inputs_embeds=embedded, **packed).logits[:, :-1]
    places, target = torch.from_numpy(documents), torch.from_numpy(labels)[:, 1:]
    for number in range(len(LENGTHS)):
        chosen = (places[:, 1:] == number) & (target != IGNORE)
        if not chosen.any():
            continue
        loss = F.cross_entropy(logits[chosen], target[chosen])
        (gradient,) = torch.autograd.grad(loss, embedded, retain_graph=True)
        assert gradient[places == number].abs().max() > 0
        assert gradient[places != number].abs().max() == 0


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_gives_no_nan_forward_or_backward(attention):
    packed = plan(np.array([3, 9]), 16)
    rows = packed.fill(np.arange(12, dtype=np.uint16) + 5, np.array([0, -1]), 1)
    inputs = {
        "input_ids": torch.from_numpy(rows.ids),
        "position_ids": torch.from_numpy(rows.positions),
        "labels": torch.from_numpy(rows.labels),
    }
    model = model_with(attention).train()
    out = model(**packed_inputs(inputs))
    assert torch.isfinite(out.logits).all()
    out.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


class Deaf(torch.nn.Module):
    """Attends to everything before, whatever the positions say."""

    def __init__(self) -> None:
        super().__init__()
        self.model = model_with("sdpa")

    def forward(self, input_ids, position_ids, **kwargs):
        return self.model(input_ids=input_ids, use_cache=False)


class Absolute(torch.nn.Module):
    """Masks documents, but gives each token the position that it has in the row."""

    def __init__(self) -> None:
        super().__init__()
        self.model = model_with("sdpa", "gpt2")
        self.place = torch.nn.Embedding(64, 64)

    def forward(self, input_ids, position_ids, **kwargs):
        embedded = self.model.get_input_embeddings()(input_ids) + self.place.weight[: input_ids.shape[1]]
        return self.model(inputs_embeds=embedded, position_ids=position_ids, use_cache=False)


def test_a_model_that_ignores_positions_is_found_before_training():
    with pytest.raises(LeakyMaskError, match="see each other"):
        check_isolation(Deaf(), VOCABULARY)
    with pytest.raises(LeakyMaskError, match="not what it is alone"):
        check_isolation(Absolute(), VOCABULARY)


def test_other_refusals():
    _, inputs, _, _ = packed_rows()
    positions = inputs["position_ids"]
    skipping = positions.clone()
    skipping[0, 5] += 1
    for changed, message in (
        (positions + 1, "must start at 0"),
        (skipping, "rise by one or restart at 0"),
        (positions[0], "shape"),
    ):
        with pytest.raises(LeakyMaskError, match=message):
            packed_inputs({**inputs, "position_ids": changed})
    assert packed_inputs(inputs)["use_cache"] is False
    assert packed_inputs({**inputs, "use_cache": False}).keys() == packed_inputs(inputs).keys()


def test_the_attention_of_a_wrapped_model_is_found():
    model = model_with("eager")
    assert attention_of(model) == attention_of(SimpleNamespace(module=model)) == "eager"
    assert attention_of(torch.nn.Linear(1, 1)) == ""


def test_the_check_leaves_the_model_as_it_was():
    model = model_with("sdpa").train()
    before = torch.get_rng_state()
    check_isolation(model, VOCABULARY)
    assert model.training
    assert torch.equal(before, torch.get_rng_state())
