//! Recurrent models.

fn main() {
    families_bench::run(&["lstm_lm", "gru_lm", "bilstm"]);
}
