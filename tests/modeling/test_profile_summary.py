"""What a trace is summed up to: compared with PyTorch's own sums and FLOP counter, and with traces drawn by hand."""

import json

import pytest
import timm
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from drift_detector_pipeline.modeling.profile.mean_step import REST, MeanStep, Operator, mean_step_of
from drift_detector_pipeline.modeling.profile.operators import count_flops
from drift_detector_pipeline.modeling.profile.wording import (
    Circumstances,
    name_bottleneck,
    operators_csv,
    profile_page,
)
from drift_detector_pipeline.modeling.tracing import PHASES, STEP


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """What is tested is not speed, and threads wait for each other where a machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def recorded(work, tmp_path):
    """The profiler of a real recording of `work` as one step, and its events as the trace has them."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler, record_function(STEP):
        work()
    profiler.export_chrome_trace(str(tmp_path / "trace.json"))
    return profiler, json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def counted(work):
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def with_gradient(compute, *shapes):
    """Work that computes from tensors of these shapes, and then the gradients of all of them."""

    def work():
        compute(*(torch.ones(shape, requires_grad=True) for shape in shapes)).sum().backward()

    return work


CALLS = {
    "mm": with_gradient(torch.mm, (3, 4), (4, 5)),
    "bmm": with_gradient(torch.bmm, (2, 3, 4), (2, 4, 5)),
    "addmm": with_gradient(torch.addmm, (3, 5), (3, 4), (4, 5)),
    "baddbmm": with_gradient(torch.baddbmm, (2, 3, 5), (2, 3, 4), (2, 4, 5)),
    "linear": with_gradient(functional.linear, (6, 2, 3, 4), (5, 4), (5,)),
    "matmul": with_gradient(torch.matmul, (2, 3, 4), (4, 5)),
    "conv2d": with_gradient(functional.conv2d, (2, 3, 9, 8), (4, 3, 3, 2)),
    "strides": with_gradient(
        lambda x, w: functional.conv2d(x, w, stride=(2, 3), padding=(1, 2), dilation=2), (2, 3, 19, 18), (4, 3, 3, 3)
    ),
    "conv1d": with_gradient(lambda x, w: functional.conv1d(x, w, padding=1), (2, 3, 9), (4, 3, 3)),
    "conv3d": with_gradient(functional.conv3d, (1, 2, 5, 6, 7), (3, 2, 2, 2, 2)),
    "transposed": with_gradient(
        lambda x, w: functional.conv_transpose2d(x, w, stride=2), (2, 3, 5, 5), (3, 4, 3, 3)
    ),
    "image needs no gradient": lambda: functional.conv2d(
        torch.ones(2, 3, 8, 8), torch.ones(4, 3, 3, 3, requires_grad=True)
    ).sum().backward(),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_flops_of_each_kind_of_call_are_those_of_torchs_flop_counter(name, tmp_path):
    _, events = recorded(CALLS[name], tmp_path)
    assert mean_step_of(events).flops == counted(CALLS[name]) > 0


def test_flops_of_both_gradients_of_a_grouped_convolution_are_twice_those_of_the_way_forward(tmp_path):
    image, kernel = torch.ones(2, 4, 8, 8, requires_grad=True), torch.ones(6, 2, 3, 3, requires_grad=True)
    forward = counted(lambda: functional.conv2d(image, kernel, groups=2, padding=1))  # torch's counter is right so far
    _, events = recorded(lambda: functional.conv2d(image, kernel, groups=2, padding=1).sum().backward(), tmp_path)
    assert mean_step_of(events).flops == 3 * forward > 0


def test_flops_of_a_convolution_that_a_gpu_recorded_by_itself_are_those_of_torchs_flop_counter():
    shapes = [[2, 4, 9, 8], [6, 2, 3, 3], *[[]] * 7]
    recorded_values = ["", "", "[1, 0]", "[2, 1]", "[1, 2]", "2", "False", "True", "False"]  # padding, stride, dilation
    image, kernel = (torch.ones(shape) for shape in shapes[:2])
    wanted = counted(lambda: functional.conv2d(image, kernel, None, (2, 1), (1, 0), (1, 2), 2))
    assert count_flops("aten::cudnn_convolution", shapes, recorded_values) == wanted > 0


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_flops_of_the_gradients_of_a_transposed_convolution_know_its_groups(groups, tmp_path):
    image, kernel = torch.ones(2, 4, 5, 5, requires_grad=True), torch.ones(4, 3, 3, 3, requires_grad=True)

    def work():
        functional.conv_transpose2d(image, kernel, groups=groups, stride=2).sum().backward()

    _, events = recorded(work, tmp_path)
    assert mean_step_of(events).flops == 3 * 2 * 2 * 5 * 5 * 4 * 3 * 3 * 3  # each place of the image meets the kernel


def test_flops_of_fused_attention_are_those_of_torchs_formula(tmp_path):
    query, key, value = (2, 3, 7, 8), (2, 3, 5, 8), (2, 3, 5, 8)
    _, events = recorded(with_gradient(functional.scaled_dot_product_attention, query, key, value), tmp_path)
    backward = sdpa_backward_flop_count(query, query, key, value)
    assert mean_step_of(events).flops == sdpa_flop_count(query, key, value) + backward > 0


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_flops_of_a_training_step_in_mixed_precision_are_those_of_torchs_flop_counter(name, tmp_path):
    torch.manual_seed(0)
    options = {"img_size": 32, "patch_size": 8, "depth": 2} if name.startswith("vit") else {}
    module = timm.create_model(name, num_classes=3, **options)

    def work():
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):  # the only one torch counts on a CPU
            logits = module(torch.ones(2, 3, 32, 32))
        logits.float().sum().backward()

    _, events = recorded(work, tmp_path)
    mean = mean_step_of(events)
    assert mean.flops == counted(work) > 0
    with_flops = {operator.name for operator in mean.operators if operator.flops}
    assert with_flops and not with_flops & {"aten::copy_", "aten::to", "aten::_to_copy"}  # what only prepares them
    assert not with_flops & {"aten::convolution", "aten::linear"}  # what only calls them


def test_self_times_are_those_of_pytorchs_own_table(tmp_path):
    profiler, events = recorded(CALLS["linear"], tmp_path)
    of_torch = {each.key: each.self_cpu_time_total / 1000 for each in profiler.key_averages()}
    operators = mean_step_of(events).operators
    assert len(operators) > 10
    assert {each.name: each.self_ms for each in operators} == {
        each.name: pytest.approx(of_torch[each.name], abs=2e-3) for each in operators
    }


def event(category, name, start, end, **args):
    """One complete event, in microseconds."""
    thread = args.pop("tid", 1)
    return {"ph": "X", "cat": category, "name": name, "tid": thread, "ts": start, "dur": end - start, "args": args}


def step(start, end, **phases):
    """The annotations of one training step; each phase is given as (start, end)."""
    return [
        event("user_annotation", STEP, start, end),
        *(event("user_annotation", phase, *times) for phase, times in phases.items()),
    ]


def test_the_phases_of_a_step_and_the_rest_add_up_to_it():
    events = step(1000, 2000, data_wait=(1000, 1100), forward=(1200, 1500), backward=(1500, 1900))
    events += step(5000, 6000, data_wait=(5000, 5300), forward=(5300, 5400), backward=(5400, 5800))
    mean = mean_step_of([*events, event("user_annotation", "forward", 3000, 4000)])  # the last is between two steps
    assert mean.phases_ms == pytest.approx(
        {"data_wait": 0.2, "copy": 0, "forward": 0.2, "backward": 0.4, "optimizer": 0, REST: 0.2}
    )
    assert (mean.steps, mean.step_ms, mean.device_busy_ms) == (2, pytest.approx(1.0), None)


def test_an_operator_counts_for_its_phase_and_one_between_two_steps_for_none():
    events = [*step(0, 100, forward=(10, 60)), *step(1000, 1100, forward=(1010, 1060))]
    events += [
        event("cpu_op", "outer", 20, 50), event("cpu_op", "inner", 25, 35), event("cpu_op", "inner", 36, 40),
        event("cpu_op", "late", 70, 71), event("cpu_op", "outer", 500, 600), event("cpu_op", "outer", 1020, 1030),
    ]  # fmt: skip
    assert mean_step_of(events).operators == [
        Operator("forward", "outer", 1.0, pytest.approx((16 + 10) / 2 / 1000), 0),
        Operator("forward", "inner", 1.0, pytest.approx(14 / 2 / 1000), 0),
        Operator(REST, "late", 0.5, pytest.approx(0.0005), 0),
    ]


def launched(asked, start, end, *, thread=1, correlation=[0]):  # noqa: B006  # one number for each piece of work
    """A kernel from `start` to `end` on the GPU, and the call that asked for it."""
    correlation[0] += 1
    return [
        event("cuda_runtime", "cudaLaunchKernel", asked, asked + 1, tid=thread, correlation=correlation[0]),
        event("kernel", "gemm", start, end, tid=7, correlation=correlation[0]),
    ]


def test_on_a_gpu_an_instant_counts_for_the_work_that_is_done_and_else_for_what_the_loop_does():
    events = step(0, 1000, data_wait=(0, 200), forward=(200, 300), backward=(300, 400), optimizer=(400, 500))
    events += launched(210, 250, 450)  # forward, done while the loop is far ahead
    events += launched(310, 450, 950, thread=2)  # backward, asked for by another thread
    events += launched(410, 950, 1100)  # the optimizer ends after the loop's step: the step ends there
    mean = mean_step_of(events)
    expected = {"data_wait": 0.2, "copy": 0, "forward": 0.05 + 0.2, "backward": 0.5, "optimizer": 0.15, REST: 0}
    assert mean.phases_ms == pytest.approx(expected)
    assert mean.step_ms == pytest.approx(1.1)
    assert mean.device_busy_ms == pytest.approx(0.85)


def test_on_a_gpu_work_of_several_streams_counts_once():
    events = step(0, 1000, forward=(0, 500), backward=(500, 1000))
    events += [*launched(10, 100, 600), *launched(20, 200, 700), *launched(510, 300, 400)]
    mean = mean_step_of(events)
    assert mean.device_busy_ms == pytest.approx(0.6)
    assert mean.step_ms == pytest.approx(1.0)
    assert mean.phases_ms["forward"] == pytest.approx(0.1 + 0.6)


def test_on_a_gpu_work_of_an_earlier_step_is_no_phase_of_this_one():
    events = [*step(1000, 2000, forward=(1000, 2000)), *launched(900, 950, 1300)]
    events += [event("kernel", "gemm", 1300, 1400, correlation=12345)]  # asked for before the recording
    mean = mean_step_of(events)
    assert mean.phases_ms[REST] == pytest.approx(0.3)
    assert mean.phases_ms["forward"] == pytest.approx(0.7)


def test_on_a_gpu_an_operators_time_is_that_of_the_work_it_asks_for():
    events = step(0, 1000, forward=(0, 500))
    events += [event("cpu_op", "aten::conv2d", 10, 60), event("cpu_op", "aten::cudnn_convolution", 20, 50)]
    events += [*launched(30, 100, 400), *launched(55, 400, 410), *launched(70, 500, 600)]
    events += launched(40, 600, 700, thread=2)  # meanwhile, by another thread
    times = {each.name: each.self_ms for each in mean_step_of(events).operators}
    assert times == pytest.approx({"aten::conv2d": 0.01, "aten::cudnn_convolution": 0.3})


def test_a_trace_without_a_training_step_is_refused():
    with pytest.raises(ValueError, match=STEP):
        mean_step_of([event("cpu_op", "aten::mm", 0, 1)])


CPU = Circumstances("cpu", "bf16", True, workers=1, cores=4, threads=2, optimizer="nmuon", peak_flops=1e9)


def spent(operators=(), device_busy_ms=None, **phases):
    """A step of 100 ms; what no phase takes is the rest."""
    given = dict.fromkeys(PHASES, 0.0) | phases
    rest = {REST: 100 - sum(given.values())}
    return MeanStep(5, 100.0, given | rest, device_busy_ms, list(operators), sum(each.flops for each in operators))


CONV = Operator("forward", "aten::convolution", 20, 60.0, 4.8e7)  # 0.8 GFLOP/s
NORM = Operator("backward", "aten::native_batch_norm_backward", 20, 20.0, 0)


@pytest.mark.parametrize(
    ("summary", "here", "words"),
    [
        (spent(data_wait=11, forward=89), CPU, ["images takes 11%", "data.dataloader_workers=2 (now 1)"]),
        (spent(data_wait=11, forward=89), CPU._replace(workers=0), ["data.dataloader_workers=1 (now 0)"]),
        (spent(data_wait=50, optimizer=50), CPU._replace(workers=4), ["all 4 cores", "data.stored_side_px"]),
        (spent(copy=20, forward=80), CPU, ["normalising images takes 20%", "data.img_size"]),
        (spent(forward=80), CPU, ["beside learning takes 20%", "training.batch_size"]),
        (spent(device_busy_ms=40.0, forward=100), CPU, ["GPU stands still for 60%", "training.batch_size"]),
        (spent(optimizer=30, forward=70), CPU, ["optimizer (nmuon) takes 30%", "training.batch_size"]),
        (spent([CONV, NORM], forward=100), CPU, ["convolution, takes 60%", "80% of", "data.img_size or model.name"]),
        (spent([CONV, NORM], forward=100), CPU._replace(precision="fp32"), ["run.precision=bf16"]),
        (spent([CONV, NORM], forward=100), CPU._replace(peak_flops=4e9), ["only 20% of", "training.batch_size"]),
        (spent([CONV._replace(self_ms=10), NORM], forward=100), CPU, ["by memory take 20%", "native_batch_norm_backw"]),
    ],
)  # fmt: skip
def test_the_bottleneck_is_one_sentence_with_its_share_and_what_to_try(summary, here, words):
    sentence = name_bottleneck(summary, here)
    assert all(word in sentence for word in words), sentence
    assert sentence.endswith(".") and ". " not in sentence and "try" in sentence


@pytest.mark.parametrize(
    ("backward_ms", "here", "stalled"),
    [
        (89, CPU, True),  # 24 against 1,000 GFLOP/s
        (89, CPU._replace(threads=1), False),
        (89, CPU._replace(device="cuda"), False),
        (20, CPU, False),  # as slow, but no quarter of a step
    ],
)
def test_convolutions_that_wait_on_the_way_back_are_told_from_slow_ones(backward_ms, here, stalled):
    forward = Operator("forward", "aten::mkldnn_convolution", 20, 2.0, 2.0e9)
    backward = Operator("backward", "aten::convolution_backward", 20, float(backward_ms), 2.4e7 * backward_ms)
    step = spent([backward, forward, NORM], forward=10, backward=backward_ms)
    sentence = name_bottleneck(step, here)
    assert ("Threads wait for each other" in sentence) == stalled
    if stalled:
        assert "convolution_backward takes 89% of a step at 2% of the forward" in sentence
        assert sentence.endswith("try run.threads=1, or 2 processes of one thread (torchrun).")
    quick = backward._replace(flops=backward.self_ms * 1.1e8)  # 11 % of the forward ones' rate
    assert "wait for each other" not in name_bottleneck(spent([quick, forward], backward=100), here)
    alone = spent([backward, NORM], forward=10, backward=90)  # nothing to compare with
    assert "wait for each other" not in name_bottleneck(alone, here)


def test_a_trace_in_which_the_threads_wait_says_so():
    shapes, options = [[8, 64, 16, 16], [64, 64, 3, 3]], ["[1, 1]", "[1, 1]", "[1, 1]", "False", "[0, 0]", "1"]
    there = {"Input Dims": shapes, "Concrete Inputs": [""] * 3 + options}
    back = {"Input Dims": [shapes[0], *shapes], "Concrete Inputs": [""] * 4 + [*options, "[True, True, False]"]}
    events = [
        *step(0, 1000, forward=(0, 30), backward=(30, 1000)),
        event("cpu_op", "aten::convolution", 0, 20, **there),
        event("cpu_op", "aten::convolution_backward", 40, 990, **back),
    ]
    mean = mean_step_of(events)
    assert mean.flops == 3 * 2 * 8 * 64 * 16 * 16 * 64 * 3 * 3
    assert "Threads wait for each other: convolution_backward takes 95%" in name_bottleneck(mean, CPU)


def test_the_page_and_the_table_say_what_the_summary_holds():
    summary = spent([CONV, NORM], data_wait=5, forward=60, backward=30)
    report = {
        "model": "resnet18", "batch_size": 64, "img_size": 96, "precision": "bf16", "device": "cpu", "threads": 2,
        "unrecorded_step_ms": 97.5, "flops_per_step": 4.8e7, "flops_per_second": 4.8e8, "bottleneck": "It is so.",
        "peak_flops_per_second": {"matmul": 1e9, "convolution": 5e8},
    }  # fmt: skip
    lines = [" ".join(line.split()) for line in profile_page(report, summary).splitlines()]
    assert "resnet18, batches of 64 at 96 px, bf16 on cpu, 2 threads: the mean of 5 training steps" in lines
    assert "waiting for images 5.0 ms 5.0% ##" in lines
    assert "rest of the loop 5.0 ms 5.0% ##" in lines
    assert "without recording 97.5 ms" in lines
    assert "forward convolution 20 60.0 60.0% 0.05 0.8" in lines
    assert "0.0 GFLOP per step, 0.5 GFLOP/s: 48% of the 1.0 GFLOP/s that a large matmul reaches here in bf16" in lines
    assert lines[-1] == "It is so."
    assert operators_csv(summary).splitlines()[1] == "forward,aten::convolution,20,60.0000,60.000,0.048"
