//! Texts that are refused, with the line and the reason.
use chainrule_ptx::{ParseError, parse};

fn error(body: &str) -> ParseError {
    let text = format!(
        ".version 8.1\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 x)\n{{\n.reg .pred %p<4>; .reg .b32 %r<4>; .reg .b64 %rd<4>;\n{body}\nret;\n}}\n"
    );
    parse(&text).expect_err(body)
}

#[test]
fn unknown_things_are_named() {
    for (body, message) in [
        ("frob.u32 %r1, %r2;", "unknown instruction frob.u32"),
        ("add.frob.u32 %r1, %r2, %r3;", "unknown modifier .frob"),
        ("add.u32 %r1, %r2, %r9;", "unknown name %r9"),
        ("add.u32 %r1, %r2;", "takes 3 operands, got 2"),
        ("add.u64 %rd1, %r2, %rd1;", "does not have the size of U64"),
        ("bra NOWHERE;", "unknown label NOWHERE"),
        ("ld.global.u32 %r1, %rd1;", "expected an address in brackets"),
        ("ld.global.v3.u32 %r1, [%rd1];", "unknown modifier .v3"),
        ("ld.global.v2.u32 {%r1}, [%rd1];", "the vector does not have the size"),
        ("ld.shared.u32 %r1, [x];", "x lies in Parameter memory, not in Shared"),
        ("shfl.bfly.b32 %r1, %r2, 1, 31;", "shfl without .sync is not supported"),
        ("cvt.f32.s32 %r1, %r2;", "the conversion needs a rounding"),
        ("mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%r1}, {%r1}, {%r1}, {%r1};", "a shape that is supported"),
        ("call.uni missing, ();", "the function missing is not defined"),
        ("wgmma.fence.sync.aligned;", "unknown instruction"),
        (".frob %r1;", "unknown directive .frob"),
        ("add.u32 %r1, %r2, ;", "expected a number, got `;`"),
        ("atom.global.max.f32 %r1, [%rd1], %r2;", "no atomic Maximum of F32"),
        ("st.param.u32 [x], %r1;", "parameters of a kernel are not written"),
    ] {
        let found = error(body);
        assert!(found.message.contains(message), "{body}: {found}");
        assert_eq!((found.line, found.statement.as_str()), (7, body), "{found}");
        assert!(found.to_string().contains("PTX line 7: "), "{found}");
    }
}

#[test]
fn files() {
    let message = |text: &str| parse(text).expect_err(text).message;
    assert!(message(".version 8.8\n.target sm_80").contains("PTX 8.8 is newer than 8.1"));
    assert!(message(".target sm_80").contains("there is no .version"));
    assert!(message("").contains("there is no .version"));
    assert!(message(".version 8.1 .address_size 32").contains("64 bits"));
    assert!(message(".version 8.1 .entry k() { ").contains("expected a statement"));
    assert!(message(".version 8.1 .entry k() { .reg .b32 %r<9999999>; }").contains("a million"));
    assert!(message(".version 8.1 /* no end").contains("the comment has no end"));
    assert!(message(".version 8.1 .func f() { call f, (); ret; } .entry k() { call f, (); ret; }").contains("recursion"));
    assert!(message(".version 8.1 .entry j() { ret; } .entry k() { call j, (); ret; }").contains("launched and not called"));
    assert!(message(".version 8.1 .entry k() { .local .b8 l[600000]; ret; }").contains("at most 524288"));
    assert!(message(".version 8.1 .global .b8 a[65536][65536];").contains("the array is too large"));
    assert!(message(&format!(".version 8.1 .entry k() {{ mov.b32 a, {} }}", "[".repeat(100_000))).contains("nested too deeply"));
    assert!(message(&format!(".version 8.1 .global .u32 a[2] = {}", "{".repeat(100_000))).contains("nested too deeply"));
    assert!(message(".version 8.1 .global .u32 a; .global .u32 a;").contains("stands twice"));
    assert!(message(".version 8.1 .global .align 3 .u32 a;").contains("no power of two"));
    assert!(message(".version 8.1 .global .u32 a[1] = {1, 2};").contains("2 initial values"));
    // No text makes the reader panic: every prefix of a real file is read or refused.
    let text = include_str!("../kernels/calls.ptx");
    for length in (0..text.len()).step_by(7) {
        let _ = parse(&text[..length]);
    }
}

#[test]
fn directives_that_change_nothing_are_read_over() {
    let module = parse(
        ".version 8.1 // a comment\n.target sm_80, debug\n.address_size 64\n.file 1 \"a.cu\"\n/* a\ncomment */\n.visible .entry k(\n.param .align 8 .b8 pair[24],\n.param .u64 .ptr .global .align 4 x,\n.param .u8 flag\n)\n\
         .maxntid 128, 2, 1\n.minnctapersm 2\n.pragma \"nounroll\";\n{\n.loc 1 3 5\n.pragma \"nounroll\";\n{.reg.b32 %r; mov.u32 %r, 1; }\n.loc 1 4 5, function_name $L, inlined_at 1 2 3\nret;\n}\n\
         .section .debug_str { .b8 1, 2\n{ .b8 3 } }\n",
    )
    .unwrap();
    let kernel = module.kernel("k").unwrap();
    assert_eq!(kernel.max_threads(), 256);
    let places: Vec<(usize, usize)> = kernel.parameters().iter().map(|parameter| (parameter.offset, parameter.bytes)).collect();
    assert_eq!((places, kernel.parameter_bytes()), (vec![(0, 24), (24, 8), (32, 1)], 33));
    assert_eq!((module.version(), module.kernels().count()), ((8, 1), 1));
    assert!(module.kernel("absent").is_none());
}
