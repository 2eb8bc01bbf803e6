//! Recurrent models.

fn main() -> chainrule::Result<()> {
    families_bench::run(&["lstm_lm", "gru_lm", "bilstm"])
}
